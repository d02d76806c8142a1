package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
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
