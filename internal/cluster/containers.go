package cluster

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// change is what one side does to the containers of a template.
type change struct {
	where      string // object for error texts
	input      string // "gray" or "production": whose parameters
	image      string // "": images stay (whole template from a manifest)
	container  string // "": every container whose repository is image's
	parameters config.Parameters
}

// apply sets the image and the parameters in place. The image and the environment go to every chosen container,
// init containers too; args only to the main ones, since an init container runs another command.
func (c change) apply(spec *corev1.PodSpec) error {
	if c.image == "" && c.container == "" && len(spec.Containers) > 0 {
		c.container = spec.Containers[0].Name // a whole template with its own images: Kubernetes' default container
	}
	init, main := c.chosen(spec.InitContainers), c.chosen(spec.Containers)
	if len(init)+len(main) == 0 {
		return c.noneChosen(spec)
	}
	for _, container := range slices.Concat(init, main) {
		if c.image != "" {
			container.Image = c.image
		}
		setEnv(container, c.parameters.Env)
	}
	for _, container := range main {
		if err := c.appendArgs(container); err != nil {
			return err
		}
	}
	return nil
}

// chosen returns pointers into the list.
func (c change) chosen(list []corev1.Container) []*corev1.Container {
	var found []*corev1.Container
	for i := range list {
		if c.chooses(list[i]) {
			found = append(found, &list[i])
		}
	}
	return found
}

func (c change) chooses(container corev1.Container) bool {
	if c.container != "" {
		return container.Name == c.container
	}
	return c.image == "" || parseReference(container.Image).sameRepository(parseReference(c.image))
}

func (c change) noneChosen(spec *corev1.PodSpec) error {
	var list []string
	for _, container := range slices.Concat(spec.InitContainers, spec.Containers) {
		list = append(list, fmt.Sprintf("%s (%s)", container.Name, container.Image))
	}
	has := strings.Join(list, ", ")
	if c.container != "" {
		return plan.Failf(plan.FaultInput, c.where, "container: there is no container %q; there are %s", c.container, has)
	}
	return plan.Failf(plan.FaultInput, c.where, "image: no container runs an image of repository %s; there are %s; "+
		"name the one to change in container", parseReference(c.image).repo, has)
}

// appendArgs does not repeat args that already end the list: production keeps its own from upgrade to upgrade.
func (c change) appendArgs(container *corev1.Container) error {
	args := c.parameters.Args
	if len(args) == 0 || (len(container.Args) >= len(args) && slices.Equal(container.Args[len(container.Args)-len(args):], args)) {
		return nil
	}
	if len(container.Args) == 0 && len(container.Command) == 0 {
		return plan.Failf(plan.FaultInput, c.where, "%s-args: container %s sets no args, so appending would drop the image's own command; use %s-env",
			c.input, container.Name, c.input)
	}
	container.Args = append(slices.Clone(container.Args), args...)
	return nil
}

func setEnv(container *corev1.Container, env []config.EnvVar) {
	for _, e := range env {
		set := corev1.EnvVar{Name: e.Name, Value: e.Value}
		i := slices.IndexFunc(container.Env, func(v corev1.EnvVar) bool { return v.Name == e.Name })
		if i < 0 {
			container.Env = append(container.Env, set)
		} else {
			container.Env[i] = set
		}
	}
}

// primary is the container whose image stands for the side: the named one, the first with the image's
// repository, or the first of all.
func primary(spec *corev1.PodSpec, image, container string) *corev1.Container {
	c := change{image: image, container: container}
	if found := c.chosen(spec.Containers); len(found) > 0 {
		return found[0]
	}
	if found := c.chosen(spec.InitContainers); len(found) > 0 && container != "" {
		return found[0]
	}
	if len(spec.Containers) == 0 {
		return &corev1.Container{}
	}
	return &spec.Containers[0]
}
