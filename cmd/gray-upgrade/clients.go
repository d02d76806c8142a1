package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/state"
)

// clients talk to the cluster as the job's user.
type clients struct {
	rest      *rest.Config
	kube      kubernetes.Interface
	dynamic   dynamic.Interface
	namespace string // the input, or that of the kubeconfig's context
	flags     string // plan.Target.Flags
	failed    *atomic.Int64
}

// connect reads the kubeconfig, or takes the pod's ServiceAccount. It sends nothing yet. Without any of them it is a
// *plan.Failure with FaultInput.
func connect(c config.Config, log *slog.Logger) (clients, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.Context})
	if raw, err := loader.RawConfig(); err == nil && c.Context != "" && raw.Contexts[c.Context] == nil {
		return clients{}, noContext(c.Context, slices.Sorted(maps.Keys(raw.Contexts)))
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return clients{}, noCluster(err, rules)
	}
	rc, err := loader.ClientConfig()
	if err != nil {
		return clients{}, noCluster(err, rules)
	}
	// client-go's default of 5 requests a second would make a close wait for its own client.
	rc.QPS, rc.Burst, rc.UserAgent = 100, 200, "gray-upgrade/"+version
	rc.Wrap(timely(callTime, log))
	failed := &atomic.Int64{}
	rc.Wrap(patient(failed, log))
	kube, kubeErr := kubernetes.NewForConfig(rc)
	dyn, dynErr := dynamic.NewForConfig(rc)
	if err := errors.Join(kubeErr, dynErr); err != nil {
		return clients{}, noCluster(err, rules)
	}
	if c.Namespace != "" {
		namespace = c.Namespace
	}
	return clients{rest: rc, kube: kube, dynamic: dyn, namespace: namespace, flags: c.Reach, failed: failed}, nil
}

// lease is the lock on the upgrades of a service, not yet taken.
func (cl clients) lease(service string, identity plan.Identity, log *slog.Logger) *state.Lease {
	return state.New(state.Options{Kube: cl.kube, Namespace: cl.namespace, Service: service, Flags: cl.flags, Identity: identity, Log: log})
}

// maxContexts is how many contexts are named.
const maxContexts = 20

func noContext(name string, known []string) *plan.Failure {
	f := plan.Failf(plan.FaultInput, "", "context %q: is not in the kubeconfig, which has: %s", name, strings.Join(known[:min(len(known), maxContexts)], ", "))
	f.Next = "give one of its contexts by the input context, or another kubeconfig by the input kubeconfig or by KUBECONFIG, then rerun"
	if len(known) == 0 {
		f.What = fmt.Sprintf("context %q: there is no kubeconfig, or it has no contexts", name)
		f.Next = "give a kubeconfig by the input kubeconfig or by KUBECONFIG, or leave the input context out, then rerun"
	}
	return f
}

// noCluster says where a kubeconfig was looked for.
func noCluster(err error, rules *clientcmd.ClientConfigLoadingRules) *plan.Failure {
	f := plan.Failf(plan.FaultInput, "", "no cluster to talk to: %w", err)
	f.Next = "give a kubeconfig by the input kubeconfig or by KUBECONFIG, or run in a pod with a ServiceAccount, then rerun"
	if clientcmd.IsEmptyConfig(err) {
		f.What = fmt.Sprintf("no cluster to talk to: there is no kubeconfig (looked for %s), and this is no pod", strings.Join(rules.GetLoadingPrecedence(), ", "))
	}
	return f
}
