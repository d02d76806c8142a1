package gateway

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func TestDiscover(t *testing.T) {
	change := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(routeText) }
	second := change("{name: web, namespace: shop,", "{name: web-admin, namespace: shop,")
	grpc := change("kind: HTTPRoute", "kind: GRPCRoute", "{name: web, namespace: shop,", "{name: calls, namespace: shop,")
	for name, c := range map[string]struct {
		objects []string
		input   string
		fault   plan.Fault
		err     []string // parts of the message; none: the route is web
	}{
		"the one":               {objects: []string{routeText, gatewayText}},
		"the one, named":        {objects: []string{routeText, gatewayText}, input: "httproute/web"},
		"the one, as HTTPRoute": {objects: []string{routeText, gatewayText}, input: "HTTPRoute/web"},
		"another is named": {[]string{routeText, gatewayText}, "httproute/other", plan.FaultInput,
			[]string{`gateway "httproute/other" does not lead to Service shop/web; the route that does is httproute/web`}},
		"no such kind": {nil, "ingress/web", plan.FaultInput, []string{`gateway "ingress/web": only httproute/NAME is supported`}},
		"no route": {[]string{gatewayText}, "", plan.FaultInput,
			[]string{"no route leads to Service shop/web: looked at the rules of 0 HTTPRoutes and of 0 GRPCRoutes in namespace shop"}},
		"a route at weight 0":          {[]string{change("weight: 1", "weight: 0")}, "", plan.FaultInput, []string{"looked at the rules of 1 HTTPRoute "}},
		"a route to another namespace": {[]string{change("weight: 1", "weight: 1, namespace: other")}, "", plan.FaultInput, []string{"no route leads"}},
		"two": {[]string{routeText, second}, "", plan.FaultInput,
			[]string{"2 routes lead to Service shop/web: httproute/web, httproute/web-admin", "bring their rules into one HTTPRoute"}},
		"two, one is named": {[]string{routeText, second}, "httproute/web", plan.FaultInput, []string{"2 routes lead to Service shop/web"}},
		"a GRPCRoute":       {[]string{routeText, grpc}, "", plan.FaultInput, []string{"GRPCRoute is not supported: grpcroute/calls leads to Service shop/web"}},
		"a mesh": {[]string{change("kind: Gateway, namespace: gateway, name: shop", `kind: Service, group: "", name: web`)}, "", plan.FaultInput,
			[]string{"HTTPRoute shop/web: parent Service web is not supported: a mesh route (GAMMA)"}},
		"a ListenerSet": {[]string{change("kind: Gateway, namespace: gateway, name: shop", "kind: ListenerSet, name: set")}, "", plan.FaultInput,
			[]string{"parent ListenerSet set is not supported: only Gateway is"}},
		"sessionPersistence": {[]string{change("      backendRefs", "      sessionPersistence: {type: Cookie}\n      backendRefs"), gatewayText}, "", plan.FaultInput,
			[]string{"sessionPersistence is not supported: rule 0"}},
		"not accepted": {[]string{change(`Accepted, status: "True"`, `Accepted, status: "False"`, "reason: Accepted", "reason: NotAllowedByListeners, message: not here"), gatewayText}, "", plan.FaultInput,
			[]string{"HTTPRoute shop/web: Gateway gateway/shop: condition Accepted is False: NotAllowedByListeners: not here"}},
		"not looked at": {[]string{change("generation: 2}\nspec", "generation: 3}\nspec"), gatewayText}, "", plan.FaultInput,
			[]string{"condition Accepted is of generation 2, the object is at 3", "condition ResolvedRefs is of generation 2"}},
		"no status": {[]string{routeText[:strings.Index(routeText, "status:")], gatewayText}, "", plan.FaultInput,
			[]string{"Gateway gateway/shop has not looked at it: no status for this parent"}},
		"the Gateway serves nothing": {[]string{routeText, strings.Replace(gatewayText, `"True"`, `"False", reason: Invalid, message: no address`, 1)}, "", plan.FaultInput,
			[]string{"HTTPRoute shop/web: Gateway gateway/shop: condition Programmed is False: Invalid: no address"}},
		"several faults at once": {[]string{change("      backendRefs", "      sessionPersistence: {type: Cookie}\n      backendRefs", `Accepted, status: "True"`, `Accepted, status: "False"`), gatewayText}, "", plan.FaultInput,
			[]string{"condition Accepted is False", "sessionPersistence is not supported"}},
	} {
		t.Run(name, func(t *testing.T) {
			var route string
			var err error
			client := dynamicClient(t, c.objects...)
			synctest.Test(t, func(t *testing.T) { // for the time that a gateway is given to look at the route
				route, err = Discover(t.Context(), client, "shop", "web", c.input)
			})
			if len(c.err) == 0 {
				require.NoError(t, err)
				assert.Equal(t, "web", route)
				return
			}
			var f *plan.Failure
			require.ErrorAs(t, err, &f)
			assert.Equal(t, c.fault, f.Fault)
			for _, part := range c.err {
				assert.ErrorContains(t, err, part)
			}
		})
	}
}

// A close must find the route whatever has happened to it since.
func TestDiscoverFindsTheSplitRouteAnyway(t *testing.T) {
	s := load(t, []byte(routeText))
	p, err := web.set(s, 20, 3)
	require.NoError(t, err)
	split := apply(t, s, p)
	split.SetGeneration(3)
	text, err := yaml.Marshal(split.Object)
	require.NoError(t, err)
	second := strings.Replace(routeText, "{name: web, namespace: shop,", "{name: web-admin, namespace: shop,", 1)
	client := dynamicClient(t, string(text), second)
	route, err := Discover(t.Context(), client, "shop", "web", "")
	require.NoError(t, err)
	assert.Equal(t, "web", route)

	h := New(Options{Dynamic: client, Target: web.target})
	assert.ErrorContains(t, h.Preflight(t.Context()), "2 routes lead to Service shop/web")
}

func TestDiscoverWithFewRights(t *testing.T) {
	forbid := func(resource string) error {
		c := dynamicClient(t, routeText, gatewayText)
		c.PrependReactor("*", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(httpRoutes.GroupResource(), "", errors.New("no"))
		})
		_, err := Discover(t.Context(), c, "shop", "web", "")
		return err
	}
	require.NoError(t, forbid("gateways"), "the Gateway is looked at where it may be read")
	assert.ErrorContains(t, forbid("grpcroutes"), "missing permission: list grpcroutes.gateway.networking.k8s.io in namespace shop")
	assert.ErrorContains(t, forbid("httproutes"), "missing permission: list httproutes.gateway.networking.k8s.io in namespace shop")
}

func TestProbeMeetsTheFirstMatchItCan(t *testing.T) {
	base := func(match string) string {
		return strings.Replace(routeText, "- matches: [{path: {type: PathPrefix, value: /api}, headers: [{name: X-A, value: b}]}]", match, 1)
	}
	for match, want := range map[string]string{
		"- name: all": "GET /",
		"- matches: [{path: {type: RegularExpression, value: '/[a-z]'}}, {path: {type: Exact, value: /b}}]": "GET /b",
		"- matches: [{method: POST}, {method: HEAD, queryParams: [{name: q, value: 'a b'}]}]":               "HEAD /?q=a+b",
		"- matches: [{headers: [{type: RegularExpression, name: a, value: b}]}]":                            "",
	} {
		p, err := web.probe(load(t, []byte(base(match))))
		if want == "" {
			assert.Error(t, err, match)
			continue
		}
		require.NoError(t, err, match)
		assert.Equal(t, want, p.method+" "+p.url)
		assert.Equal(t, "gray-upgrade.example.com", p.host)
	}
}

func TestLeadsToFollowsTheOrderOfMatches(t *testing.T) {
	route := load(t, []byte(`
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  rules:
    - matches: [{path: {type: PathPrefix, value: /}}]
      backendRefs: [{name: other, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /cart}}, {path: {value: /basket/}}]
      backendRefs: [{name: web, port: 80}]
    - matches: [{path: {type: Exact, value: /cart/help}}]
      backendRefs: [{name: other, port: 80}]
    - matches: [{path: {value: /tenant}, headers: [{name: X-Tenant, value: a}]}, {path: {type: RegularExpression, value: "/o.*"}}]
      backendRefs: [{name: web, port: 80}]
`))
	for path, want := range map[string]bool{
		"/": false, "/cart": true, "/cart/1?a=b": true, "/carts": false, "/cart/help": false, "/cart/help/me": true,
		"/basket": true, "/basket/1": true, "/tenant": false, "/orders": false,
	} {
		assert.Equal(t, want, web.leadsTo(route, path), path)
	}
}
