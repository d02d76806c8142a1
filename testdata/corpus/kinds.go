package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/e2e"
)

// kind is something that happens to an upgrade.
type kind struct {
	name   string
	blame  bool          // it is the image's fault
	rate   int           // requests a second
	step   time.Duration // step-duration
	memory string        // limit of a pod
	cart   bool          // the shop calls a cart
	args   []string      // of the shop
	more   []string      // inputs of the tool

	before  func(ctx context.Context, s *e2e.Shop) error // before the upgrade begins
	weight  int                                          // of gray, when it happens
	after   time.Duration                                // later than the step's begin
	happens func(ctx context.Context, s *e2e.Shop) error
}

// kinds are those that are recorded: the image's faults first, then what it is not to be blamed for.
func kinds() []kind {
	all := slices.Concat(faults(), accidents(), clean())
	for i := range all {
		all[i].defaults()
	}
	return all
}

func (k *kind) defaults() {
	if k.rate == 0 {
		k.rate = 100
	}
	if k.step == 0 {
		k.step = 15 * time.Second
	}
	if k.happens != nil && k.weight == 0 {
		k.weight, k.after = 20, 4*time.Second
	}
}

func (k kind) shop() e2e.Options { return e2e.Options{Cart: k.cart, Args: k.args} }

func (k kind) inputs() []string {
	return append([]string{
		"--image=" + e2e.Repository + ":v2", "--gray-args=--mode=gray", "--step-duration=" + k.step.String(),
	}, k.more...)
}

// slowly is a step long enough for readings of metrics.k8s.io.
const slowly = 75 * time.Second

func faults() []kind {
	all := []kind{
		{name: "error burst", happens: gray(`{"errorShare":0.5}`)},
		{name: "one error in twenty", happens: gray(`{"errorShare":0.05}`)},
		{name: "one error in a hundred", happens: gray(`{"errorShare":0.01}`), rate: 200, step: time.Minute},
		{name: "errors of one path", happens: gray(`{"errorShare":0.2,"onlyPath":"/cart"}`)},
		{name: "errors of one pod", happens: oneOf(e2e.GraySelector, `{"errorShare":0.3}`), weight: 50, after: 4 * time.Second},
		{name: "slow", happens: gray(`{"slowMs":300}`)},
		{name: "slow tail", happens: gray(`{"slowMs":600,"slowShare":0.1}`), step: 30 * time.Second},
		{name: "memory leak", happens: gray(`{"leakMBPerSecond":0.8}`), memory: "256Mi", step: slowly},
		{name: "CPU burn", happens: gray(`{"cpuBurn":0.2}`), step: slowly},
		{name: "crash loop", happens: gray(`{"crashAfter":30}`)},
		{name: "out of memory", happens: gray(`{"leakMBPerSecond":60}`), memory: "128Mi"},
		{name: "a pod that hangs", happens: gray(`{"readyFail":true}`)},
		{name: "new error line", happens: gray(`{"newErrorLog":true}`)},
		{name: "new stack trace", happens: gray(`{"stackTrace":true}`)},
		{name: "log storm", happens: gray(`{"logLines":50}`)},
		{name: "wrong answers with status 200", happens: gray(`{"wrongAnswers":true}`), more: []string{"--config=testdata/corpus/account.yaml"}},
	}
	for i := range all {
		all[i].blame = true
	}
	return all
}

// accidents are not the image's fault.
func accidents() []kind {
	return []kind{
		{name: "a gray pod is deleted", happens: deleteOne(e2e.GraySelector)},
		{name: "a production pod is deleted", happens: deleteOne(e2e.ProductionSelector)},
		{name: "the cart of both fails", cart: true, happens: of("app=cart", `{"errorShare":0.1}`)},
		{name: "both sides degrade", happens: both(`{"slowMs":150,"errorShare":0.03}`)},
		{name: "noisy neighbour", happens: neighbour},
		{name: "error lines of both", before: of(e2e.ProductionSelector, `{"newErrorLog":true}`), weight: 5, happens: gray(`{"newErrorLog":true}`)},
	}
}

// clean runs have nothing wrong.
func clean() []kind {
	return []kind{
		{name: "steady"},
		{name: "steady and busy", rate: 300},
		{name: "usual errors", before: of(e2e.ProductionSelector, `{"errorShare":0.02}`), args: []string{`--faults={"errorShare":0.02}`}},
		{name: "bursty", happens: bursts},
		{name: "tiny traffic", rate: 2, more: []string{"--step-timeout=45s"}},
		{name: "cold start", args: []string{"--work=20ms"}, weight: 5, happens: coldStart},
		{name: "other words at info level", args: []string{`--faults={"otherWords":true}`}},
	}
}

func gray(faults string) func(context.Context, *e2e.Shop) error { return of(e2e.GraySelector, faults) }

func of(selector, faults string) func(context.Context, *e2e.Shop) error {
	return func(ctx context.Context, s *e2e.Shop) error { return s.Fault(ctx, selector, 0, faults) }
}

func oneOf(selector, faults string) func(context.Context, *e2e.Shop) error {
	return func(ctx context.Context, s *e2e.Shop) error { return s.Fault(ctx, selector, 1, faults) }
}

func both(faults string) func(context.Context, *e2e.Shop) error {
	return func(ctx context.Context, s *e2e.Shop) error {
		if err := s.Fault(ctx, e2e.ProductionSelector, 0, faults); err != nil {
			return err
		}
		return s.Fault(ctx, e2e.GraySelector, 0, faults)
	}
}

func deleteOne(selector string) func(context.Context, *e2e.Shop) error {
	return func(ctx context.Context, s *e2e.Shop) error {
		pods, err := s.Pods(ctx, selector)
		if err != nil || len(pods) == 0 {
			return err
		}
		return s.Kube.CoreV1().Pods(s.Namespace).Delete(ctx, pods[0].Name, metav1.DeleteOptions{})
	}
}

// neighbour keeps a core of the node busy for a while, in another shop.
func neighbour(ctx context.Context, s *e2e.Shop) error {
	noisy, err := e2e.NewShop(ctx, s.Rest, s.Namespace+"-other", e2e.Options{Replicas: 1, Args: []string{`--faults={"cpuBurn":1.5}`}})
	if err != nil {
		return err
	}
	if err := sleep(ctx, 20*time.Second); err != nil {
		return err
	}
	return noisy.Remove(context.WithoutCancel(ctx))
}

// bursts send three times the requests every now and then.
func bursts(ctx context.Context, s *e2e.Shop) (err error) {
	scratch, err := os.MkdirTemp("", "gray-upgrade-corpus-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	r := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		if err := sleep(ctx, time.Duration(r.IntN(4000))*time.Millisecond); err != nil {
			return err
		}
		load, err := s.StartLoad(scratch, 200)
		if err != nil {
			return err
		}
		if err := sleep(ctx, time.Duration(1000+r.IntN(3000))*time.Millisecond); err != nil {
			return err
		}
		if _, _, err := load.Stop(); err != nil {
			return err
		}
	}
	return nil
}

// coldStart makes gray five times as slow, and warm after three seconds.
func coldStart(ctx context.Context, s *e2e.Shop) error {
	if err := s.Fault(ctx, e2e.GraySelector, 0, `{"slowMs":80}`); err != nil {
		return err
	}
	if err := sleep(ctx, 3*time.Second); err != nil {
		return err
	}
	return s.Fault(ctx, e2e.GraySelector, 0, `{}`)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
