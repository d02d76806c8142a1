package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// keptLog is how much of a container's log is kept: its last mebibyte.
const (
	keptLog  = 1 << 20
	keptTail = int64(20_000) // lines
)

// Logs hands the end of the log of every container of every gray pod to keep, the log before its last restart under the
// name CONTAINER.previous too. What cannot be read is told in the error; the others are handed over all the same.
func (c *Cluster) Logs(ctx context.Context, keep func(pod, container string, log []byte) error) error {
	pods, err := c.kube.CoreV1().Pods(c.target.Namespace).List(ctx, metav1.ListOptions{LabelSelector: c.graySelector()})
	if err != nil {
		return fmt.Errorf("list gray pods: %w", err)
	}
	var all []error
	for _, pod := range pods.Items {
		for _, s := range pod.Status.ContainerStatuses {
			all = append(all, c.keepLog(ctx, pod.Name, s.Name, false, keep))
			if s.RestartCount > 0 {
				all = append(all, c.keepLog(ctx, pod.Name, s.Name, true, keep))
			}
		}
	}
	return errors.Join(all...)
}

func (c *Cluster) keepLog(ctx context.Context, pod, container string, previous bool, keep func(pod, container string, log []byte) error) error {
	tail := keptTail
	stream, err := c.kube.CoreV1().Pods(c.target.Namespace).GetLogs(pod, &corev1.PodLogOptions{
		Container: container, Previous: previous, TailLines: &tail, Timestamps: true,
	}).Stream(ctx)
	if err != nil {
		return fmt.Errorf("read the log of pod %s container %s: %w", pod, container, err)
	}
	defer func() { _ = stream.Close() }()
	end, err := lastBytes(stream, keptLog)
	if err != nil {
		return fmt.Errorf("read the log of pod %s container %s: %w", pod, container, err)
	}
	if previous {
		container += ".previous"
	}
	return keep(pod, container, end)
}

// lastBytes reads all of r and returns its last n bytes.
func lastBytes(r io.Reader, n int) ([]byte, error) {
	var end []byte
	chunk := make([]byte, 64<<10)
	for {
		got, err := r.Read(chunk)
		end = append(end, chunk[:got]...)
		if len(end) > 2*n {
			end = append([]byte(nil), end[len(end)-n:]...)
		}
		if errors.Is(err, io.EOF) {
			return end[max(0, len(end)-n):], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Lost names gray pods whose node does not answer: every node serves a line of its pods' logs.
func (c *Cluster) Lost(ctx context.Context) []string {
	pods, err := c.kube.CoreV1().Pods(c.target.Namespace).List(ctx, metav1.ListOptions{LabelSelector: c.graySelector()})
	if err != nil {
		return nil // of whom nothing can be learned nothing is said
	}
	silent := make([]bool, len(pods.Items))
	var asked sync.WaitGroup
	for i, pod := range pods.Items {
		asked.Go(func() {
			container := primary(&pod.Spec, c.config.Image, c.config.Container).Name
			err := c.lastLine(ctx, pod.Name, container)
			silent[i] = err != nil && (ctx.Err() != nil || apierrors.IsInternalError(err) || apierrors.IsServiceUnavailable(err))
		})
	}
	asked.Wait()
	var lost []string
	for i, pod := range pods.Items {
		if silent[i] {
			lost = append(lost, pod.Name)
		}
	}
	return lost
}

// lastLine asks a node for the last line of a container's log.
func (c *Cluster) lastLine(ctx context.Context, pod, container string) error {
	one := int64(1)
	return c.kube.CoreV1().Pods(c.target.Namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container, TailLines: &one, LimitBytes: &one}).Do(ctx).Error()
}
