package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// annotationUpgrade names, on gray's objects, the upgrade that made them.
const annotationUpgrade = plan.Domain + "/upgrade"

// Start makes gray's Deployment, Service and PDB stand with that many pods, and waits until their containers are
// ready (not yet verified). A gray Deployment that stands already is kept where its template is the one wanted, with
// its pods where it has more; another one is replaced. A Deployment of gray's name that is not ours is never touched:
// *plan.Failure with FaultInput.
func (c *Cluster) Start(ctx context.Context, replicas int32) error {
	m, err := c.material(ctx)
	if err != nil {
		return err
	}
	deployment, service, err := c.clone(m, replicas)
	if err != nil {
		return err
	}
	standing, err := c.standing(ctx, deployment)
	if err != nil {
		return err
	}
	if standing == nil {
		if err := c.Delete(ctx); err != nil {
			return fmt.Errorf("replace gray: %w", err)
		}
		if standing, err = c.createDeployment(ctx, deployment); err != nil {
			return err
		}
	}
	if err := c.ensureExtras(ctx, m, standing, service); err != nil {
		return err
	}
	if standing.Spec.Replicas != nil {
		replicas = max(replicas, *standing.Spec.Replicas)
	}
	return c.Scale(ctx, replicas)
}

// Scale changes the number of gray pods and waits until the containers of all of them are ready.
func (c *Cluster) Scale(ctx context.Context, replicas int32) error {
	err := write(ctx, c, c.kube.AppsV1().Deployments(c.target.Namespace), edit[*appsv1.Deployment]{
		kind: "Deployment", name: c.target.GrayDeployment(),
		ops: func(_ context.Context, d *appsv1.Deployment) ([]Op, error) {
			if !ours(d, c.target.Service) {
				return nil, c.notOurs("Deployment", d.Name)
			}
			if d.Spec.Replicas != nil && *d.Spec.Replicas == replicas {
				return nil, nil
			}
			return []Op{{Op: "replace", Path: "/spec/replicas", Value: replicas}}, nil
		},
	})
	if err != nil {
		return err
	}
	return c.await(ctx, goal{
		what: fmt.Sprintf("gray pods are not ready (%d wanted)", replicas), look: c.lookGray, watch: c.changesOfGray, limit: c.config.PodTimeout,
		done: func(s sight) (bool, int) {
			ready := containersReady(s.current)
			return s.deployment != nil && s.replicaSet != "" && len(s.other) == 0 && len(s.current) == int(replicas) && ready == int(replicas), ready
		},
	})
}

func containersReady(pods []corev1.Pod) int {
	n := 0
	for i := range pods {
		if condition(&pods[i], corev1.ContainersReady) {
			n++
		}
	}
	return n
}

// Ready waits until every verified gray pod, at least one, is a ready endpoint of gray's Service.
func (c *Cluster) Ready(ctx context.Context) error {
	return c.await(ctx, goal{
		what: "verified gray pods are not endpoints of Service " + c.target.GrayService(),
		look: c.lookGray, watch: c.changesOfGray, limit: c.config.PodTimeout,
		done: func(s sight) (bool, int) {
			verified, serving := 0, 0
			for i := range s.current {
				if condition(&s.current[i], plan.ConditionVerified) {
					verified++
					if s.endpoints[s.current[i].Name] {
						serving++
					}
				}
			}
			return verified > 0 && serving == verified, serving
		},
	})
}

// standing returns the gray Deployment if it can be kept for what is wanted; nil if it is to be made.
func (c *Cluster) standing(ctx context.Context, want *appsv1.Deployment) (*appsv1.Deployment, error) {
	found, err := c.deployment(ctx, want.Name)
	if err != nil || found == nil {
		return nil, err
	}
	if !ours(found, c.target.Service) {
		return nil, c.notOurs("Deployment", found.Name)
	}
	if found.DeletionTimestamp != nil || baselineOf(found) != baselineOf(want) || !reflect.DeepEqual(found.Spec.Selector, want.Spec.Selector) {
		return nil, nil
	}
	same, err := c.sameTemplate(ctx, found, want)
	if err != nil || !same {
		return nil, err
	}
	return found, nil
}

// sameTemplate asks the API server, which fills in defaults, what the wanted template would be stored as.
func (c *Cluster) sameTemplate(ctx context.Context, found, want *appsv1.Deployment) (bool, error) {
	data, err := guarded(found, []Op{{Op: "replace", Path: "/spec/template", Value: want.Spec.Template}})
	if err != nil {
		return false, err
	}
	stored, err := c.kube.AppsV1().Deployments(found.Namespace).Patch(ctx, found.Name, types.JSONPatchType, data,
		metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: fieldManager})
	if apierrors.IsInvalid(err) || apierrors.IsConflict(err) {
		return false, nil // changed meanwhile, or not to be turned into the wanted one: made anew
	}
	if err != nil {
		return false, fmt.Errorf("compare the template of Deployment %s/%s: %w", found.Namespace, found.Name, err)
	}
	return Hash(&stored.Spec.Template) == Hash(&found.Spec.Template), nil
}

func (c *Cluster) createDeployment(ctx context.Context, d *appsv1.Deployment) (*appsv1.Deployment, error) {
	if err := c.mark(ctx, d); err != nil {
		return nil, err
	}
	created, err := c.kube.AppsV1().Deployments(d.Namespace).Create(ctx, d, metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil {
		return nil, fmt.Errorf("create Deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	c.log.Info("gray Deployment created", "deployment", d.Name, "replicas", *d.Spec.Replicas)
	return created, nil
}

// ensureExtras makes the gray Service and PDBs stand. They are owned by the gray Deployment and go with it.
func (c *Cluster) ensureExtras(ctx context.Context, m *material, owner *appsv1.Deployment, service *corev1.Service) error {
	own := []metav1.OwnerReference{ownedBy(owner)}
	service.OwnerReferences = own
	if err := c.ensureService(ctx, service); err != nil {
		return err
	}
	if len(m.budgets) == 0 {
		return nil
	}
	budget := grayBudget(&m.budgets[0], owner, c.target.Service) // pods with several PDBs cannot be evicted at all: one is right
	budget.OwnerReferences = own
	return c.ensureBudget(ctx, budget)
}

func (c *Cluster) ensureService(ctx context.Context, want *corev1.Service) error {
	services := c.kube.CoreV1().Services(want.Namespace)
	found, err := services.Get(ctx, want.Name, metav1.GetOptions{})
	if err == nil {
		switch {
		case !ours(found, c.target.Service):
			return c.notOurs("Service", want.Name)
		case owned(found, want) && reflect.DeepEqual(found.Spec.Selector, want.Spec.Selector):
			return nil
		}
		if err := c.remove(ctx, "Service", found, services.Delete, metav1.DeletePropagationBackground); err != nil {
			return err
		}
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read Service %s/%s: %w", want.Namespace, want.Name, err)
	}
	if err := c.mark(ctx, want); err != nil {
		return err
	}
	if _, err := services.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager}); err != nil {
		return fmt.Errorf("create Service %s/%s: %w", want.Namespace, want.Name, err)
	}
	return nil
}

func (c *Cluster) ensureBudget(ctx context.Context, want *policyv1.PodDisruptionBudget) error {
	budgets := c.kube.PolicyV1().PodDisruptionBudgets(want.Namespace)
	found, err := budgets.Get(ctx, want.Name, metav1.GetOptions{})
	if err == nil {
		switch {
		case !ours(found, c.target.Service):
			return c.notOurs(kindPDB, want.Name)
		case owned(found, want):
			return nil
		}
		if err := c.remove(ctx, kindPDB, found, budgets.Delete, metav1.DeletePropagationBackground); err != nil {
			return err
		}
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read %s %s/%s: %w", kindPDB, want.Namespace, want.Name, err)
	}
	if err := c.mark(ctx, want); err != nil {
		return err
	}
	if _, err := budgets.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager}); err != nil {
		return fmt.Errorf("create %s %s/%s: %w", kindPDB, want.Namespace, want.Name, err)
	}
	return nil
}

// owned says whether both have the same owner: an object of an earlier gray Deployment is about to be collected.
func owned(found, want metav1.Object) bool {
	a, b := found.GetOwnerReferences(), want.GetOwnerReferences()
	return len(a) == 1 && len(b) == 1 && a[0].UID == b[0].UID
}

// ownedBy does not block the owner's deletion: that would need a permission on its finalizers.
func ownedBy(d *appsv1.Deployment) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "apps/v1", Kind: "Deployment", Name: d.Name, UID: d.UID}
}

// mark writes our fence and the upgrade on an object that is about to be created.
func (c *Cluster) mark(ctx context.Context, o metav1.Object) error {
	fence, err := c.fence(ctx)
	if err != nil {
		return err
	}
	annotations := o.GetAnnotations()
	annotations[plan.FenceKey(c.target.Service)] = strconv.FormatInt(fence, 10)
	annotations[annotationUpgrade] = c.upgradeID
	o.SetAnnotations(annotations)
	return nil
}

func (c *Cluster) notOurs(kind, name string) error {
	return plan.Failf(plan.FaultInput, kind+" "+c.target.Namespace+"/"+name,
		"there is a %s %s already that gray-upgrade did not make (no label %s=%s, %s=%s); rename or delete it",
		kind, name, plan.LabelSide, plan.Gray, plan.LabelService, c.target.Service)
}

// Digest returns the one image digest that all gray pods run: of the named container, or the first with the new image.
func (c *Cluster) Digest(ctx context.Context) (string, error) {
	s, err := c.lookGray(ctx)
	if err != nil {
		return "", err
	}
	image, err := c.runningImage(s)
	return image.digest, err
}

// running is the image that pods run, as their nodes report it.
type running struct {
	repo     reference
	digest   string
	pullable bool // the digest is a repository's, not a bare image ID
	whole    bool // every pod says so
}

// runningImage is the one image of the side's main container; an error names the pods that differ. A pod that says nothing yet,
// for it has just come in place of another, is left out as long as any says something: whole is false then.
func (c *Cluster) runningImage(s sight) (running, error) {
	if s.deployment == nil || len(s.current) == 0 {
		return running{}, plan.Failf(plan.FaultInfrastructure, "namespace "+c.target.Namespace, "there is no pod to read the image digest of")
	}
	name := primary(&s.deployment.Spec.Template.Spec, c.config.Image, c.config.Container).Name
	where := describe("Deployment", s.deployment)
	var all running
	var first string
	whole := true
	for _, pod := range s.current {
		id := imageID(&pod, name)
		if id == "" {
			whole = false
			continue
		}
		repo, digest, pullable := imageDigest(id)
		if first != "" && digest != all.digest {
			return running{}, plan.Failf(plan.FaultInfrastructure, where, "pods run different images: %s runs %s, %s runs %s; %w",
				first, all.digest, pod.Name, digest, plan.ErrMoved)
		}
		all, first = running{repo: repo, digest: digest, pullable: pullable}, pod.Name
	}
	if first == "" {
		return running{}, plan.Failf(plan.FaultInfrastructure, where, "none of %d pods reports the image of container %s yet", len(s.current), name)
	}
	all.whole = whole
	return all, nil
}

// pulled is the digest of the new image that any pod of the side reports, of any container that got it: a pod that never
// gets ready may tell no more than its init container. "" where none does. For a hold that is enough; who rolls
// production asks runningImage, which wants all pods to agree.
func (s sight) pulled(image, container string) string {
	if s.deployment == nil {
		return ""
	}
	for _, name := range renewed(&s.deployment.Spec.Template.Spec, image, container) {
		for i := range s.current {
			if id := imageID(&s.current[i], name); id != "" {
				_, digest, _ := imageDigest(id)
				return digest
			}
		}
	}
	return ""
}

// renewed names the containers that got the new image, main ones first.
func renewed(spec *corev1.PodSpec, image, container string) []string {
	if image == "" && container == "" {
		return []string{primary(spec, image, container).Name} // a whole template: its first container stands for it
	}
	c := change{image: image, container: container}
	var names []string
	for _, found := range slices.Concat(c.chosen(spec.Containers), c.chosen(spec.InitContainers)) {
		names = append(names, found.Name)
	}
	return names
}

func imageID(pod *corev1.Pod, container string) string {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for _, s := range list {
			if s.Name == container {
				return s.ImageID
			}
		}
	}
	return ""
}

// patchDry runs operations on a Deployment without storing them and returns what would be stored.
func (c *Cluster) patchDry(ctx context.Context, d *appsv1.Deployment, ops []Op) (*appsv1.Deployment, error) {
	data, err := json.Marshal(ops)
	if err != nil {
		return nil, err
	}
	deployments := c.kube.AppsV1().Deployments(d.Namespace)
	stored, err := deployments.Patch(ctx, d.Name, types.JSONPatchType, data, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: fieldManager})
	if apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
		return nil, conflictOr(ctx, deployments, d, err)
	}
	return stored, err
}
