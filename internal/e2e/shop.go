// Package e2e upgrades a real shop on a real cluster behind a real gateway, under load, and looks at it from outside. The
// demo and the tests share it.
package e2e

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
)

var (
	//go:embed shop.yaml
	webObjects string
	//go:embed cart.yaml
	cartObjects string
)

// Repository is where the cluster's registry has the shop's image, with tags v1 to v12, each with its own digest.
const Repository = "127.0.0.1:5000/shop/app"

// adminPort is where the shop takes faults.
const adminPort = 8081

// Options are the shop's size and behaviour.
type Options struct {
	Version  string   // tag; default v1
	Replicas int      // of web; default 3
	Cart     bool     // web calls a cart through its Service, else it is its own
	Args     []string // of web, beside the role
}

// Shop is the demo shop in a namespace of its own.
type Shop struct {
	Namespace string
	Rest      *rest.Config
	Kube      kubernetes.Interface
	Dynamic   dynamic.Interface
	Env       []string // for the tool, beside that of the process
}

// NewShop makes the namespace and the shop in it, and returns when it answers through the gateway.
func NewShop(ctx context.Context, cfg *rest.Config, namespace string, o Options) (*Shop, error) {
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	s := &Shop{Namespace: namespace, Rest: cfg, Kube: kube, Dynamic: dyn}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := kube.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	if err := clustertest.Create(ctx, cfg, s.objects(o)); err != nil {
		return nil, err
	}
	return s, s.answers(ctx)
}

// Remove deletes the namespace and does not wait.
func (s *Shop) Remove(ctx context.Context) error {
	return s.Kube.CoreV1().Namespaces().Delete(ctx, s.Namespace, metav1.DeleteOptions{})
}

func (s *Shop) objects(o Options) string {
	if o.Version == "" {
		o.Version = "v1"
	}
	if o.Replicas == 0 {
		o.Replicas = 3
	}
	args, objects := []string{"--role=web", "--access-log=false"}, webObjects
	if o.Cart {
		args, objects = append(args, "--cart-url=http://$(CART_SERVICE_HOST)"), cartObjects+"---\n"+webObjects
	}
	args = append(args, o.Args...)
	quoted, _ := json.Marshal(args)
	return strings.NewReplacer(
		"NAMESPACE", s.Namespace, "IMAGE", Repository+":"+o.Version, "BASE", Repository+":v1",
		"REPLICAS", strconv.Itoa(o.Replicas), "[ARGS]", string(quoted),
	).Replace(objects)
}

// Host is the host name that leads to the shop.
func (s *Shop) Host() string { return s.Namespace + ".shop.test" }

// GatewayURL is where the gateway listens.
func GatewayURL() string { return os.Getenv("CLUSTER_GATEWAY_URL") }

// answers waits until web is ready and the gateway leads to it 20 times in a row.
func (s *Shop) answers(ctx context.Context) error {
	inARow := 0
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		d, err := s.Deployment(ctx, "web")
		if err != nil || d.Status.ReadyReplicas != *d.Spec.Replicas {
			return false, err
		}
		for ; inARow < 20; inARow++ {
			if code, err := s.get(ctx, "/"); err != nil || code != http.StatusOK {
				inARow = 0
				return false, nil //nolint:nilerr // not yet
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the shop in namespace %s: %w", s.Namespace, err)
	}
	return nil
}

func (s *Shop) get(ctx context.Context, path string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, GatewayURL()+path, nil)
	if err != nil {
		return 0, err
	}
	req.Host = s.Host()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// Deployment returns a Deployment of the shop.
func (s *Shop) Deployment(ctx context.Context, name string) (*appsv1.Deployment, error) {
	return s.Kube.AppsV1().Deployments(s.Namespace).Get(ctx, name, metav1.GetOptions{})
}

// Image is the image of web's container.
func (s *Shop) Image(ctx context.Context) (string, error) {
	d, err := s.Deployment(ctx, "web")
	if err != nil {
		return "", err
	}
	return d.Spec.Template.Spec.Containers[0].Image, nil
}

// Pods returns the pods with these labels.
func (s *Shop) Pods(ctx context.Context, selector string) ([]corev1.Pod, error) {
	list, err := s.Kube.CoreV1().Pods(s.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// GraySelector and ProductionSelector select web's pods of one side.
const (
	GraySelector       = "app=web-gray"
	ProductionSelector = "app=web"
)

// Fault switches faults (the JSON that the shop's /faults takes) on in pods; n limits how many, 0: all.
func (s *Shop) Fault(ctx context.Context, selector string, n int, faults string) error {
	pods, err := s.Pods(ctx, selector)
	if err != nil {
		return err
	}
	if n > 0 {
		pods = pods[:min(n, len(pods))]
	}
	if len(pods) == 0 {
		return fmt.Errorf("no pod has the labels %s", selector)
	}
	var all []error
	for _, p := range pods {
		all = append(all, post(ctx, fmt.Sprintf("http://%s:%d/faults", p.Status.PodIP, adminPort), faults))
	}
	return errors.Join(all...)
}

func post(ctx context.Context, url, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewBufferString(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return nil
}
