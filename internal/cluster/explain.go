package cluster

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	maxLines    = 10
	logBytes    = 64 << 10
	explainWait = 3 * time.Second // for logs and events: the reason is known without them
)

// failure turns a trouble into the error of a wait. What holds at most 10 log lines, each on its own line.
func (c *Cluster) failure(ctx context.Context, s sight, t *trouble, what string) *plan.Failure {
	where := "namespace " + c.target.Namespace
	if s.deployment != nil {
		where = describe("Deployment", s.deployment)
	}
	if t == nil {
		return plan.Failf(plan.FaultInfrastructure, where, "%s", what)
	}
	var text strings.Builder
	text.WriteString(what + ": ")
	if t.pod != "" {
		where = "Pod " + c.target.Namespace + "/" + t.pod
		text.WriteString("pod " + t.pod + ": ")
	}
	text.WriteString(t.why)
	if t.events {
		if event := c.lastWarning(ctx, t.pod); event != "" {
			text.WriteString("; " + event)
		}
	}
	if lines := c.lastLines(ctx, t); len(lines) > 0 {
		text.WriteString("; its last log lines:\n  " + strings.Join(lines, "\n  "))
	}
	if t.absent {
		return noImage(where, text.String())
	}
	return plan.Failf(t.fault, where, "%s", text.String())
}

// noImage is a fault of the input: a tag that nobody pushed is there at no rerun.
func noImage(where, text string) *plan.Failure {
	f := plan.Failf(plan.FaultInput, where, "%s; the registry has no such image", text)
	f.Next = "correct the tag or the digest of the image, or push it, then rerun; nothing is on hold"
	return f
}

// lastLines reads the end of a container's log; what cannot be read is left out.
func (c *Cluster) lastLines(ctx context.Context, t *trouble) []string {
	if !t.logs || t.pod == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, explainWait)
	defer cancel()
	tail, limit := int64(maxLines), int64(logBytes)
	stream, err := c.kube.CoreV1().Pods(c.target.Namespace).GetLogs(t.pod, &corev1.PodLogOptions{
		Container: t.container, Previous: t.previous, TailLines: &tail, LimitBytes: &limit,
	}).Stream(ctx)
	if err != nil {
		c.log.Debug("no log to explain a pod with", "pod", t.pod, "error", err)
		return nil
	}
	defer stream.Close()
	var lines []string
	scan := bufio.NewScanner(stream)
	scan.Buffer(nil, logBytes)
	for scan.Scan() && len(lines) < maxLines {
		lines = append(lines, cut(scan.Text()))
	}
	return lines
}

// lastWarning is the newest warning about a pod, in one line; "" where there is none or events cannot be read.
func (c *Cluster) lastWarning(ctx context.Context, pod string) string {
	ctx, cancel := context.WithTimeout(ctx, explainWait)
	defer cancel()
	list, err := c.kube.CoreV1().Events(c.target.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.kind=Pod,involvedObject.name=" + pod + ",type=" + corev1.EventTypeWarning,
	})
	if err != nil || len(list.Items) == 0 {
		return ""
	}
	last := slices.MaxFunc(list.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	return fmt.Sprintf("%s: %s", cut(last.Reason), cut(last.Message))
}
