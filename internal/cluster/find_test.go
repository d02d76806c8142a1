package cluster

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func TestFind(t *testing.T) {
	deployment := func(name, app string) *appsv1.Deployment {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}}
		d.Spec.Template.Labels = map[string]string{"app": app}
		return d
	}
	gray := deployment("web-gray", "web")
	gray.Labels = map[string]string{plan.LabelSide: "gray", plan.LabelService: "web"}
	service := func(name string, spec corev1.ServiceSpec) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Spec: spec}
	}
	selects := func(app string) corev1.ServiceSpec {
		return corev1.ServiceSpec{Selector: map[string]string{"app": app}}
	}
	grayService := service("web-gray", selects("web"))
	grayService.Labels = gray.Labels
	headless := selects("web")
	headless.ClusterIP = corev1.ClusterIPNone
	kube := fake.NewClientset(
		deployment("web", "web"), gray, deployment("a", "twins"), deployment("b", "twins"),
		service("web", selects("web")), service("twins", selects("twins")), service("lonely", selects("nobody")), grayService,
		service("external", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "x.example.com"}),
		service("manual", corev1.ServiceSpec{}), service("headless", headless),
	)
	for name, c := range map[string]struct {
		service, deployment string
		want                string // Deployment
		fault               []string
	}{
		"the only one":         {service: "web", want: "web"},
		"named":                {service: "twins", deployment: "b", want: "b"},
		"several":              {service: "twins", fault: []string{"2 Deployments: a, b", "name one in deployment"}},
		"none":                 {service: "lonely", fault: []string{"no Deployment", "app=nobody", "a, b, web"}},
		"named wrongly":        {service: "web", deployment: "wbe", fault: []string{"no Deployment wbe", "a, b, web"}},
		"named another":        {service: "web", deployment: "a", fault: []string{"does not select the pods of Deployment a", "those of web"}},
		"no such Service":      {service: "wbe", fault: []string{"no Service wbe in namespace shop"}},
		"ExternalName":         {service: "external", fault: []string{"ExternalName"}},
		"without selector":     {service: "manual", fault: []string{"no selector"}},
		"headless":             {service: "headless", fault: []string{"headless"}},
		"the gray Service":     {service: "web-gray", fault: []string{"gray side of web"}},
		"gray itself is named": {service: "web", deployment: "web-gray", fault: []string{"no Deployment web-gray"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Find(t.Context(), kube, "shop", c.service, c.deployment)
			if c.fault == nil {
				require.NoError(t, err)
				assert.Equal(t, plan.Target{Namespace: "shop", Service: c.service, Deployment: c.want}, got)
				return
			}
			assert.Equal(t, plan.FaultInput, fault(t, err))
			for _, want := range c.fault {
				assert.ErrorContains(t, err, want)
			}
		})
	}
}

func TestListed(t *testing.T) {
	assert.Equal(t, "none", listed(nil))
	assert.Equal(t, "a, b", listed([]string{"a", "b"}))
	assert.Equal(t, "a, b, c, d, e, f, g, h, i, j and 1 more", listed([]string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"}))
}
