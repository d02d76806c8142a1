package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Roll makes production run the gray template's image in production mode, with the way back in the same write, and
// waits until every pod is ready, none of another template is left, and the image digest is the one gray runs. A
// template that is neither baseline nor ours is not overwritten.
func (c *Cluster) Roll(ctx context.Context) error {
	gray, err := c.lookGray(ctx)
	if err != nil {
		return err
	}
	tested, err := c.runningImage(gray)
	if err != nil {
		return fmt.Errorf("read what gray runs: %w", err)
	}
	if err := c.rollTemplate(ctx, gray.deployment, tested); err != nil {
		return err
	}
	var last sight
	err = c.await(ctx, goal{
		what: "production pods of the new version are not ready", watch: c.watchProduction, limit: c.config.PodTimeout,
		look: func(ctx context.Context) (sight, error) { return c.lookRolled(ctx, gray.deployment) },
		done: func(s sight) (bool, int) {
			last = s
			return s.whole(), int(s.serving(s.current)) - len(s.other)
		},
	})
	if err != nil {
		return err
	}
	return c.sameImage(last, tested)
}

// lookRolled is look at production, which must still be on our template.
func (c *Cluster) lookRolled(ctx context.Context, gray *appsv1.Deployment) (sight, error) {
	s, err := c.look(ctx, c.target.Deployment, c.target.Service)
	if err != nil || s.deployment == nil {
		return s, err
	}
	if t := templateOf(s.deployment, gray); t != plan.Ours {
		return s, c.drift(s.deployment)
	}
	if s.deployment.Spec.Paused && !s.whole() {
		return s, paused(s.deployment)
	}
	return s, nil
}

// paused: a Deployment that was paused since the preflight replaces no pod, and is not rolled.
func paused(d *appsv1.Deployment) error {
	return plan.Failf(plan.FaultInfrastructure, describe("Deployment", d), "the Deployment was paused meanwhile, so no pod of it is replaced; resume it")
}

func (c *Cluster) sameImage(s sight, tested running) error {
	now, err := c.runningImage(s)
	if err != nil {
		return err
	}
	if now.digest != tested.digest {
		return plan.Failf(plan.FaultInfrastructure, describe("Deployment", s.deployment),
			"production pulled %s, gray was tested with %s: the tag was moved meanwhile", now.digest, tested.digest)
	}
	return nil
}

func (c *Cluster) watchProduction(ctx context.Context) <-chan struct{} {
	selector := ""
	if d, err := c.production(ctx); err == nil {
		selector = labelSelector(d)
	}
	return c.changes(ctx, c.target.Deployment, c.target.Service, selector)
}

// rollTemplate writes the new template and its way back; nothing where it stands already.
func (c *Cluster) rollTemplate(ctx context.Context, gray *appsv1.Deployment, tested running) error {
	manifest, err := c.manifest()
	if err != nil {
		return err
	}
	before, err := c.look(ctx, c.target.Deployment, c.target.Service)
	if err != nil {
		return err
	}
	return write(ctx, c, c.kube.AppsV1().Deployments(c.target.Namespace), edit[*appsv1.Deployment]{
		kind: "Deployment", name: c.target.Deployment,
		ops: func(ctx context.Context, d *appsv1.Deployment) ([]Op, error) {
			switch templateOf(d, gray) {
			case plan.Ours:
				return nil, nil
			case plan.Foreign:
				return nil, c.drift(d)
			case plan.Baseline:
			}
			if d.Spec.Paused {
				return nil, paused(d)
			}
			to, err := Production(d, ProductionOptions{
				Image: c.config.Image, Digest: c.pin(tested), Container: c.config.Container, Parameters: c.config.Production, Template: manifest,
			})
			if err != nil {
				return nil, err
			}
			return c.rollOps(ctx, d, to, before.replicaSet)
		},
	})
}

// rollOps is the whole roll as one patch. The API server is asked first, without storing, what it makes of the new
// template: the way back leads from there.
func (c *Cluster) rollOps(ctx context.Context, d *appsv1.Deployment, to *corev1.PodTemplateSpec, replicaSet string) ([]Op, error) {
	forward, err := templatePatch(&d.Spec.Template, to)
	if err != nil {
		return nil, err
	}
	forward = append(nameTests(&d.Spec.Template.Spec, forward), forward...)
	stored := d
	if len(forward) > 0 {
		test := Op{Op: "test", Path: "/metadata/resourceVersion", Value: d.ResourceVersion}
		if stored, err = c.patchDry(ctx, d, append([]Op{test}, forward...)); err != nil {
			return nil, err
		}
	}
	if Hash(&stored.Spec.Template) == Hash(&d.Spec.Template) {
		return nil, plan.Failf(plan.FaultInfrastructure, describe("Deployment", d),
			"the roll would change nothing: production is set to %s already, and runs another digest under that name; give the image by digest", cut(c.config.Image))
	}
	back, err := templatePatch(&stored.Spec.Template, &d.Spec.Template)
	if err != nil {
		return nil, err
	}
	note, err := json.Marshal(undo{
		Run: c.upgradeID, Baseline: Hash(&d.Spec.Template), Ours: Hash(&stored.Spec.Template), ReplicaSet: replicaSet, Patch: back,
	})
	if err != nil {
		return nil, err
	}
	c.log.Info("rolling production", "deployment", d.Name, "operations", len(forward))
	return annotate(d, forward, plan.AnnotationUndo, string(note)), nil
}

// pin is the digest that production's image is written with. A digest that the node reports under another
// repository may not be there in the image's own, so then the tag stays and the digests are compared after the roll.
func (c *Cluster) pin(tested running) string {
	image := parseReference(c.config.Image)
	if !tested.pullable || !tested.repo.sameRepository(image) {
		c.log.Warn("the image is not pinned: the nodes report no digest of its repository", "image", c.config.Image, "reported", tested.repo.repo)
		return ""
	}
	return tested.digest
}

// nameTests guard the operations inside of a container: the index must still mean the container it meant.
func nameTests(spec *corev1.PodSpec, ops []Op) []Op {
	lists := map[string][]corev1.Container{"containers": spec.Containers, "initContainers": spec.InitContainers}
	var tests []Op
	seen := map[string]bool{}
	for _, op := range ops {
		parts := strings.Split(op.Path, "/") // "", spec, template, spec, containers, 0, image
		if len(parts) < 6 {
			continue
		}
		i, err := strconv.Atoi(parts[5])
		list := lists[parts[4]]
		at := strings.Join(parts[:6], "/")
		if err != nil || i >= len(list) || seen[at] {
			continue
		}
		seen[at] = true
		tests = append(tests, Op{Op: "test", Path: at + "/name", Value: list[i].Name})
	}
	return tests
}

// Undo gives production its baseline template back where ours is on it. It does not wait; the way back stays on the
// Deployment until Clean. A foreign template is not overwritten.
func (c *Cluster) Undo(ctx context.Context) error {
	return write(ctx, c, c.kube.AppsV1().Deployments(c.target.Namespace), edit[*appsv1.Deployment]{
		kind: "Deployment", name: c.target.Deployment,
		ops: func(_ context.Context, d *appsv1.Deployment) ([]Op, error) {
			switch templateOf(d, nil) {
			case plan.Baseline:
				return nil, nil
			case plan.Foreign:
				return nil, c.drift(d)
			case plan.Ours:
			}
			u, err := undoOf(d)
			if err != nil {
				return nil, err
			}
			c.log.Info("giving production its baseline back", "deployment", d.Name, "operations", len(u.Patch))
			return append(nameTests(&d.Spec.Template.Spec, u.Patch), u.Patch...), nil
		},
	})
}

// drift names what somebody else wrote.
func (c *Cluster) drift(d *appsv1.Deployment) error {
	image := primary(&d.Spec.Template.Spec, c.config.Image, c.config.Container).Image
	by := "somebody else"
	if manager := lastManager(d); manager != "" {
		by = manager
	}
	return plan.Failf(plan.FaultInfrastructure, describe("Deployment", d),
		"the pod template was changed by %s meanwhile: it is neither the one before the upgrade nor ours (image %s, template %s), so it is not overwritten",
		by, image, Hash(&d.Spec.Template)[:8])
}

// lastManager is the field manager that wrote the Deployment last, other than us and the controllers of its status.
func lastManager(d *appsv1.Deployment) string {
	name := ""
	var newest int64
	for _, m := range d.ManagedFields {
		if m.Subresource == "" && m.Manager != fieldManager && m.Manager != "kube-controller-manager" && m.Time != nil && m.Time.Unix() >= newest {
			name, newest = cut(m.Manager), m.Time.Unix()
		}
	}
	return name
}

// Promote marks the point of no return on the Deployment.
func (c *Cluster) Promote(ctx context.Context, digest string) error {
	return write(ctx, c, c.kube.AppsV1().Deployments(c.target.Namespace), edit[*appsv1.Deployment]{
		kind: "Deployment", name: c.target.Deployment,
		ops: func(_ context.Context, d *appsv1.Deployment) ([]Op, error) {
			if templateOf(d, nil) != plan.Ours {
				return nil, c.drift(d)
			}
			if d.Annotations[plan.AnnotationPromoted] == digest {
				return nil, nil
			}
			return annotate(d, nil, plan.AnnotationPromoted, digest), nil
		},
	})
}

// Clean unpins the HPA and takes our annotations off the Deployment.
func (c *Cluster) Clean(ctx context.Context) error {
	if err := c.Unpin(ctx); err != nil {
		return err
	}
	return write(ctx, c, c.kube.AppsV1().Deployments(c.target.Namespace), edit[*appsv1.Deployment]{
		kind: "Deployment", name: c.target.Deployment, unfenced: true,
		ops: func(_ context.Context, d *appsv1.Deployment) ([]Op, error) { return unannotate(d, c.foreignKey), nil },
	})
}

// foreignKey says whether an annotation is not ours to remove: another upgrade's fence is not.
func (c *Cluster) foreignKey(key string) bool {
	return !strings.HasPrefix(key, plan.Domain+"/") && key != plan.FenceKey(c.target.Service)
}
