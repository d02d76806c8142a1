package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// recipeHash is the same exactly when a binary would be: it covers the named files (of a folder: everything in it),
// the command and the Go version.
func recipeHash(root string, paths, command []string, goVersion string) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%q\n", goVersion, command)
	for _, p := range paths {
		err := filepath.WalkDir(filepath.Join(root, p), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "%s %d\n", name, len(content))
			h.Write(content)
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
