package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/gray-upgrade/gray-upgrade/internal/e2e"
)

// longest is the time that one run may take.
const longest = 15 * time.Minute

// record makes a shop, upgrades it under load, lets happen what is of this kind, and keeps the evidence.
func (k kind) record(ctx context.Context, cfg *rest.Config) (r run, evidence string, err error) {
	r = run{Name: k.name, Blame: k.blame}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	s, err := e2e.NewShop(ctx, cfg, "corpus-"+slug(k.name), k.shop())
	if err != nil {
		return r, "", err
	}
	defer func() { err = errors.Join(err, s.Remove(context.WithoutCancel(ctx))) }()
	if err := k.limit(ctx, s); err != nil {
		return r, "", err
	}
	scratch, err := os.MkdirTemp("", "gray-upgrade-corpus-")
	if err != nil {
		return r, "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	load, err := s.StartLoad(scratch, k.rate)
	if err != nil {
		return r, "", err
	}
	defer func() {
		_, _, stopped := load.Stop()
		err = errors.Join(err, stopped)
	}()
	evidence, err = k.upgrade(ctx, s, scratch, &r)
	return r, evidence, err
}

// upgrade runs the tool and returns its evidence.
func (k kind) upgrade(ctx context.Context, s *e2e.Shop, scratch string, r *run) (evidence string, err error) {
	if k.before != nil {
		if err := k.before(ctx, s); err != nil {
			return "", err
		}
	}
	tool, err := s.StartTool(ctx, scratch, "run", k.inputs()...)
	if err != nil {
		return "", err
	}
	if k.happens != nil {
		if !tool.WaitFor(fmt.Sprintf("watch gray at weight %d", k.weight), longest) {
			return "", fmt.Errorf("it did not get to weight %d:\n%s", k.weight, tool.Output())
		}
		if err := sleep(ctx, k.after); err != nil {
			return "", err
		}
		r.Faulty = time.Now().UTC().Truncate(time.Millisecond)
		if err := k.happens(ctx, s); err != nil {
			return "", err
		}
	}
	code, err := tool.Wait()
	if err != nil {
		return "", err
	}
	if r.Outcome, err = outcome(tool); err != nil {
		return "", fmt.Errorf("exit code %d: %w\n%s", code, err, tool.Output())
	}
	return tool.File("evidence/*/evidence.jsonl")
}

// outcome is the tool's output of that name.
func outcome(tool *e2e.Tool) (string, error) {
	text, err := tool.File("output")
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(text, "outcome<<")
	_, rest, _ = strings.Cut(rest, "\n")
	word, _, found := strings.Cut(rest, "\n")
	if !found {
		return "", fmt.Errorf("no outcome in its outputs: %s", text)
	}
	return word, nil
}

// keep writes evidence, packed.
func keep(path, text string) error {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, packed.Bytes(), 0o600)
}

// limit gives web's pods their memory limit.
func (k kind) limit(ctx context.Context, s *e2e.Shop) error {
	if k.memory == "" {
		return nil
	}
	deployments := s.Kube.AppsV1().Deployments(s.Namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		d, err := s.Deployment(ctx, "web")
		if err != nil {
			return err
		}
		d.Spec.Template.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(k.memory)}
		_, err = deployments.Update(ctx, d, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	return wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		d, err := s.Deployment(ctx, "web")
		return err == nil && d.Status.ObservedGeneration == d.Generation && d.Status.UpdatedReplicas == *d.Spec.Replicas &&
			d.Status.Replicas == *d.Spec.Replicas && d.Status.ReadyReplicas == *d.Spec.Replicas, err
	})
}
