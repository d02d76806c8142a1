package main

import (
	"errors"
	"os"
	"path/filepath"
)

// repository returns the repository's root: the nearest folder above the working directory that holds this module.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "testdata", "cluster", "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no testdata/cluster in or above the working directory: run this inside the repository")
		}
		dir = up
	}
}
