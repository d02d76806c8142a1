package cluster

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// compare fills what tells whether production runs already what is asked for: the digest of its pods, and the hashes of
// its template and of the wanted one without the tag and digest of the image. Where nothing is asked for (a close), or
// no template can be made of it (which Start and Preflight say), they stay empty.
func (c *Cluster) compare(o *plan.Observed, production sight) {
	if production.deployment == nil || c.config.Image == "" && c.config.Manifest == "" {
		return
	}
	if image, err := c.runningImage(production); err == nil && image.whole {
		o.Production.Digest = image.digest
	}
	manifest, err := c.manifest()
	if err != nil {
		return
	}
	wanted, err := Production(production.deployment, ProductionOptions{
		Image: c.config.Image, Container: c.config.Container, Parameters: c.config.Production, Template: manifest,
	})
	if err != nil {
		return
	}
	o.Held = c.heldAs(wanted)
	if taken := c.rehearsed.Load(); taken != nil && manifest != nil {
		wanted = taken // a manifest leaves out what the API fills in, and production has it
	}
	o.Current, o.Wanted = Hash(c.untagged(&production.deployment.Spec.Template)), Hash(c.untagged(wanted))
}

// heldAs is the hash that a hold is on. Labels and annotations of the pods are left out: kubectl rollout restart and charts
// change them, and the image would try again.
func (c *Cluster) heldAs(wanted *corev1.PodTemplateSpec) string {
	return Hash(&corev1.PodTemplateSpec{Spec: c.untagged(wanted).Spec})
}

// untagged is a template in which the upgraded image stands by its repository alone: a tag names no image for good, and the
// digest is compared by itself.
func (c *Cluster) untagged(template *corev1.PodTemplateSpec) *corev1.PodTemplateSpec {
	t := template.DeepCopy()
	ours := parseReference(primary(&t.Spec, c.config.Image, c.config.Container).Image)
	for _, list := range [][]corev1.Container{t.Spec.InitContainers, t.Spec.Containers} {
		for i := range list {
			if r := parseReference(list[i].Image); list[i].Name == c.config.Container || r.sameRepository(ours) {
				list[i].Image = r.canonical()
			}
		}
	}
	return t
}
