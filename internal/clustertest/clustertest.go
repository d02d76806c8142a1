// Package clustertest gives tests a real API server: the embedded cluster of testdata/cluster.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// accountWait bounds the wait for the default ServiceAccount of a fresh namespace: without it no pod is admitted.
const accountWait = 30 * time.Second

// Config returns the client configuration of the embedded cluster. Outside of it the test is skipped.
func Config(t *testing.T) *rest.Config {
	t.Helper()
	if os.Getenv("GRAY_TEST_CLUSTER") != "1" {
		t.Skip("needs the embedded cluster: run make test")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	require.NoError(t, err)
	cfg.QPS, cfg.Burst = 200, 400 // tests watch closely; client-go's default of 5 per second would slow what they measure
	return cfg
}

// Namespace makes a fresh namespace, ready for pods, and deletes it when the test ends.
func Namespace(t *testing.T, cfg *rest.Config) string {
	t.Helper()
	kube, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	ns, err := kube.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		err := kube.CoreV1().Namespaces().Delete(context.WithoutCancel(t.Context()), ns.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("delete namespace %s: %v", ns.Name, err)
		}
	})
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, accountWait, true,
		func(ctx context.Context) (bool, error) {
			_, err := kube.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return false, nil
			}
			return err == nil, err
		})
	require.NoError(t, err, "default ServiceAccount of namespace %s", ns.Name)
	return ns.Name
}

// Apply creates the objects of a YAML text; see Create.
func Apply(t *testing.T, cfg *rest.Config, text string) {
	t.Helper()
	require.NoError(t, Create(t.Context(), cfg, text))
}

// Create creates the objects of a YAML text of one or more documents, in order. An object that stands already is
// replaced. Each object names its own namespace.
func Create(ctx context.Context, cfg *rest.Config, text string) error {
	objects, err := decode(text)
	if err != nil {
		return err
	}
	disco, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return err
	}
	groups, err := restmapper.GetAPIGroupResources(disco)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	for _, u := range objects {
		if err := apply(ctx, client, mapper, u); err != nil {
			return fmt.Errorf("create %s %s/%s: %w", u.GetKind(), u.GetNamespace(), u.GetName(), err)
		}
	}
	return nil
}

func decode(text string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := d.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("decode document %d: %w", len(objects)+1, err)
		}
		if len(u.Object) > 0 {
			objects = append(objects, u)
		}
	}
}

func apply(ctx context.Context, client dynamic.Interface, mapper meta.RESTMapper, u *unstructured.Unstructured) error {
	gvk := u.GroupVersionKind()
	m, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return err
	}
	var objects dynamic.ResourceInterface = client.Resource(m.Resource)
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		objects = client.Resource(m.Resource).Namespace(u.GetNamespace())
	}
	_, err = objects.Create(ctx, u, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	old, err := objects.Get(ctx, u.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	u.SetResourceVersion(old.GetResourceVersion())
	_, err = objects.Update(ctx, u, metav1.UpdateOptions{})
	return err
}
