package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// applyCRDs applies the Gateway API's kinds and waits until they are served.
func (k *clients) applyCRDs(ctx context.Context, root string) error {
	for _, kind := range gatewayKinds {
		if err := k.applyFile(ctx, filepath.Join(crdFolder(root), crdFile(kind))); err != nil {
			return err
		}
	}
	for _, kind := range gatewayKinds {
		if err := k.waitEstablished(ctx, kind+".gateway.networking.k8s.io"); err != nil {
			return err
		}
	}
	return nil
}

func (k *clients) waitEstablished(ctx context.Context, name string) error {
	return until(ctx, name+" is not established", func(ctx context.Context) error {
		crd, err := k.dynamic.Resource(crdResource).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
		for _, c := range conditions {
			c, _ := c.(map[string]any)
			if c["type"] == "Established" && c["status"] == "True" {
				return nil
			}
		}
		return errors.New("no condition says so")
	})
}

// applyManifests applies every file of the manifests' folder, in the order of their names.
func (k *clients) applyManifests(ctx context.Context, root string) error {
	files, err := filepath.Glob(filepath.Join(root, "testdata", "cluster", "manifests", "*.yaml"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := k.applyFile(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// applyFile applies the documents of a file, in order.
func (k *clients) applyFile(ctx context.Context, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := documents.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if len(u.Object) == 0 {
			continue
		}
		if err := k.apply(ctx, u); err != nil {
			return fmt.Errorf("%s: %s %s: %w", filepath.Base(path), u.GetKind(), u.GetName(), err)
		}
	}
}

// apply applies one object. A kind that is not known yet may be one whose definition was applied a moment ago.
func (k *clients) apply(ctx context.Context, u *unstructured.Unstructured) error {
	gvk := u.GroupVersionKind()
	var mapping *meta.RESTMapping
	err := wait.PollUntilContextTimeout(ctx, poll, 5*time.Second, true, func(context.Context) (bool, error) {
		var err error
		mapping, err = k.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		if meta.IsNoMatchError(err) {
			k.mapper.Reset()
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("the API server does not know the kind %s: %w", gvk, err)
	}
	var objects dynamic.ResourceInterface = k.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		namespace := u.GetNamespace()
		if namespace == "" {
			namespace = metav1.NamespaceDefault
		}
		objects = k.dynamic.Resource(mapping.Resource).Namespace(namespace)
	}
	_, err = objects.Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: "cluster", Force: true})
	return err
}
