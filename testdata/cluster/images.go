package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	registryAddress = "127.0.0.1:5000"
	pauseImage      = registryAddress + "/pause:1"
	appVersions     = 12
)

// An image is one binary of ours.
type image struct {
	binary string
	// tags are the references without the registry. Each gets an image of its own, by the environment.
	tags []string
	env  func(tag string) []string
}

func images() []image {
	app := image{binary: "app"}
	app.env = func(tag string) []string {
		ref, err := name.NewTag(tag)
		if err != nil {
			return nil
		}
		return []string{"APP_VERSION=" + ref.TagStr()}
	}
	for i := range appVersions {
		app.tags = append(app.tags, fmt.Sprintf("shop/app:v%d", i+1))
	}
	return []image{
		{binary: "pause", tags: []string{"pause:1"}},
		{binary: "traefik", tags: []string{"traefik:v3.7.13"}},
		{binary: "gray-upgrade", tags: []string{"gray-upgrade:dev"}},
		app,
	}
}

// serveImages starts a registry in this process and pushes the images into it; the registry then stays. Pods really
// pull from it, so they report digests as they do elsewhere.
func (c *cluster) serveImages(ctx context.Context) error {
	listener, err := net.Listen("tcp", registryAddress)
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	file, err := os.Create(filepath.Join(c.dir, "logs", "registry.log"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: registry.New(registry.Logger(log.New(file, "", log.Lmicroseconds)))}
	go func() { c.failed <- fmt.Errorf("registry: %w", server.Serve(listener)) }()
	for _, i := range images() {
		content, err := os.ReadFile(filepath.Join(c.bin, i.binary))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was left out of the build, which has said so
		}
		if err != nil {
			return err
		}
		layer, err := binaryLayer(i.binary, content)
		if err != nil {
			return err
		}
		for _, tag := range i.tags {
			var env []string
			if i.env != nil {
				env = i.env(tag)
			}
			if err := push(ctx, registryAddress+"/"+tag, "/"+i.binary, layer, env); err != nil {
				return fmt.Errorf("push %s: %w", tag, err)
			}
		}
	}
	return nil
}

// binaryLayer is a layer of one program. It is not compressed: that would take seconds and save nothing here.
func binaryLayer(binary string, content []byte) (v1.Layer, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: binary, Mode: 0o755, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return static.NewLayer(out.Bytes(), types.OCIUncompressedLayer), nil
}

func push(ctx context.Context, reference, entrypoint string, layer v1.Layer, env []string) error {
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layer)
	if err != nil {
		return err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = runtime.GOOS, runtime.GOARCH
	file.Config.Entrypoint = []string{entrypoint}
	file.Config.Env = env
	img, err = mutate.ConfigFile(img, file)
	if err != nil {
		return err
	}
	return remote.Write(ref, img, remote.WithContext(ctx))
}
