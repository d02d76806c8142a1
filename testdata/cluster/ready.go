package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// poll is how often something is looked at that is about to be ready.
const poll = 50 * time.Millisecond

// clients talk to the API server as admin.
type clients struct {
	kube    kubernetes.Interface
	dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
}

func (c *cluster) connect() (*clients, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig("admin"))
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // no limit: nobody else is there
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kube.Discovery()))
	return &clients{kube, objects, mapper}, nil
}

// until polls until done says so. What it said last is the error when the time is up.
func until(ctx context.Context, what string, done func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		err := done(ctx)
		if err != nil && ctx.Err() == nil {
			last = err
		}
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, errors.Join(err, last))
	}
	return nil
}

func (k *clients) waitAPI(ctx context.Context) error {
	return until(ctx, "the API server is not ready", func(ctx context.Context) error {
		return k.kube.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// waitNode waits until pods can be scheduled and namespaces get their account.
func (k *clients) waitNode(ctx context.Context) error {
	return until(ctx, "the node is not ready", func(ctx context.Context) error {
		node, err := k.kube.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				return errors.New(c.Message)
			}
		}
		if len(node.Status.Conditions) == 0 || len(node.Spec.Taints) > 0 {
			return fmt.Errorf("conditions %d, taints %v", len(node.Status.Conditions), node.Spec.Taints)
		}
		_, err = k.kube.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

const gatewayNamespace = "gateway"

// waitGateway waits for every Deployment in the gateway's namespace and returns the URL of the gateway's Service, or
// nothing if there is none.
func (k *clients) waitGateway(ctx context.Context) (string, error) {
	err := until(ctx, "the gateway is not ready", func(ctx context.Context) error {
		list, err := k.kube.AppsV1().Deployments(gatewayNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, d := range list.Items {
			if !available(&d) {
				return fmt.Errorf("wait for Deployment %s: %d of %d pods available", d.Name, d.Status.AvailableReplicas, *d.Spec.Replicas)
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	service, err := k.kube.CoreV1().Services(gatewayNamespace).Get(ctx, "traefik", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, p := range service.Spec.Ports {
		if p.Name == "web" {
			return fmt.Sprintf("http://%s:%d", service.Spec.ClusterIP, p.Port), nil
		}
	}
	return "", fmt.Errorf("no port web in Service %s/%s", service.Namespace, service.Name)
}

func available(d *appsv1.Deployment) bool {
	return d.Status.ObservedGeneration >= d.Generation && d.Status.AvailableReplicas >= *d.Spec.Replicas
}
