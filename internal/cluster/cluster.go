// Package cluster sees and changes the two sides of an upgrade in Kubernetes: it makes and removes gray, rolls
// production and gives it back, and says why pods do not become ready. It moves no traffic.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Options are what a Cluster needs.
type Options struct {
	Kube      kubernetes.Interface
	Target    plan.Target // as Find returns it
	Config    config.Config
	UpgradeID string
	// Fence reads the Lease and returns our fence, or plan.ErrLost. It is called before every write.
	Fence func(ctx context.Context) (int64, error)
	Log   *slog.Logger // nil: silent
}

// Cluster is one service with its two sides. Of what it has seen it remembers only how the API server takes production's new
// template, and it is safe for concurrent use.
type Cluster struct {
	rehearsed atomic.Pointer[corev1.PodTemplateSpec] // production's new template with the API's defaults; nil: not rehearsed

	kube      kubernetes.Interface
	target    plan.Target
	config    config.Config
	upgradeID string
	fence     func(ctx context.Context) (int64, error)
	log       *slog.Logger
}

// New returns the cluster side of one upgrade. It reads nothing yet.
func New(o Options) *Cluster {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Cluster{kube: o.Kube, target: o.Target, config: o.Config, upgradeID: o.UpgradeID, fence: o.Fence, log: o.Log}
}

// material is everything that the templates of both sides are made from.
type material struct {
	production *appsv1.Deployment // with its baseline template
	service    *corev1.Service
	template   *corev1.PodTemplateSpec // from the manifest; nil: production's
	others     []Selection
	budgets    []policyv1.PodDisruptionBudget // that select production pods
	claims     map[string][]corev1.PersistentVolumeAccessMode
}

func (c *Cluster) material(ctx context.Context) (*material, error) {
	m := &material{}
	var err error
	if m.template, err = c.manifest(); err != nil {
		return nil, err
	}
	var services *corev1.ServiceList
	var budgets *policyv1.PodDisruptionBudgetList
	ns := c.target.Namespace
	err = together(
		func() (err error) { m.production, err = c.production(ctx); return },
		func() (err error) {
			services, err = c.kube.CoreV1().Services(ns).List(ctx, metav1.ListOptions{})
			return
		},
		func() (err error) {
			budgets, err = c.kube.PolicyV1().PodDisruptionBudgets(ns).List(ctx, metav1.ListOptions{})
			return
		},
	)
	if err != nil {
		return nil, fmt.Errorf("read namespace %s: %w", ns, err)
	}
	if m.production, err = baseline(m.production); err != nil {
		return nil, err
	}
	c.sort(m, services.Items, budgets.Items)
	if m.service == nil {
		return nil, plan.Failf(plan.FaultInput, "Service "+ns+"/"+c.target.Service, "service: there is no Service %s in namespace %s", c.target.Service, ns)
	}
	return m, c.readClaims(ctx, m)
}

// sort finds the upgraded Service, and what else selects pods, among all of the namespace.
func (c *Cluster) sort(m *material, services []corev1.Service, budgets []policyv1.PodDisruptionBudget) {
	for i, s := range services {
		switch {
		case s.Name == c.target.Service:
			m.service = &services[i]
		case len(s.Spec.Selector) > 0 && !ours(&s, c.target.Service):
			m.others = append(m.others, Selection{Kind: "Service", Name: s.Name, Selector: &metav1.LabelSelector{MatchLabels: s.Spec.Selector}})
		}
	}
	for _, b := range budgets {
		if b.Spec.Selector == nil || ours(&b, c.target.Service) {
			continue
		}
		m.others = append(m.others, Selection{Kind: kindPDB, Name: b.Name, Selector: b.Spec.Selector})
		if matches(b.Spec.Selector, m.production.Spec.Template.Labels) {
			m.budgets = append(m.budgets, b)
		}
	}
}

func (c *Cluster) readClaims(ctx context.Context, m *material) error {
	m.claims = map[string][]corev1.PersistentVolumeAccessMode{}
	template := m.template
	if template == nil {
		template = &m.production.Spec.Template
	}
	for _, v := range template.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		name := v.PersistentVolumeClaim.ClaimName
		claim, err := c.kube.CoreV1().PersistentVolumeClaims(c.target.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("read claim %s of volume %s: %w", name, v.Name, err)
		}
		m.claims[name] = claim.Spec.AccessModes
	}
	return nil
}

func (c *Cluster) manifest() (*corev1.PodTemplateSpec, error) {
	if c.config.Manifest == "" {
		return nil, nil
	}
	data, err := os.ReadFile(c.config.Manifest)
	if err != nil {
		return nil, plan.Failf(plan.FaultInput, c.config.Manifest, "manifest: %w", err)
	}
	return ParseManifest(c.config.Manifest, data)
}

func (c *Cluster) clone(m *material, replicas int32) (*appsv1.Deployment, *corev1.Service, error) {
	return Clone(m.production, m.service, CloneOptions{
		Target: c.target, Image: c.config.Image, Container: c.config.Container, Parameters: c.config.Gray,
		Replicas: replicas, Template: m.template, Others: m.others, Claims: m.claims,
	})
}

// production reads the user's Deployment; one that is not there is a *plan.Failure.
func (c *Cluster) production(ctx context.Context) (*appsv1.Deployment, error) {
	d, err := c.deployment(ctx, c.target.Deployment)
	if err == nil && d == nil {
		return nil, plan.Failf(plan.FaultInput, "Deployment "+c.target.Namespace+"/"+c.target.Deployment,
			"deployment: there is no Deployment %s in namespace %s", c.target.Deployment, c.target.Namespace)
	}
	return d, err
}

// gray reads gray's Deployment; nil where there is none, or one that is not ours.
func (c *Cluster) gray(ctx context.Context) (*appsv1.Deployment, error) {
	d, err := c.deployment(ctx, c.target.GrayDeployment())
	if err != nil || d == nil || !ours(d, c.target.Service) {
		return nil, err
	}
	return d, nil
}

// deployment returns nil for one that is not there.
func (c *Cluster) deployment(ctx context.Context, name string) (*appsv1.Deployment, error) {
	d, err := c.kube.AppsV1().Deployments(c.target.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Deployment %s/%s: %w", c.target.Namespace, name, err)
	}
	return d, nil
}

// together runs the reads side by side and returns the first error in their order.
func together(reads ...func() error) error {
	errs := make([]error, len(reads))
	var wg sync.WaitGroup
	for i, read := range reads {
		wg.Go(func() { errs[i] = read() })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
