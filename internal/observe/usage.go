package observe

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// usageEvery is the pause between questions to metrics.k8s.io, whose answers change about every 15 s.
const usageEvery = 5 * time.Second

// usageOld is when readings that could not be renewed are thrown away.
const usageOld = time.Minute

// usage is what metrics.k8s.io said of one pod.
type usage struct {
	stamp   string  // of the last reading
	memory  float64 // bytes, last reading
	cpu     float64 // cores, sum of the readings that began after Begin
	count   int
	skipped bool // the reading that began before Begin has gone by
}

// restart begins a new window: CPU is a mean over time, so the next reading still tells of the time before.
func (u *usage) restart() { u.cpu, u.count, u.skipped = 0, 0, false }

// podMetrics is the part that is needed of a PodMetricsList of metrics.k8s.io/v1beta1.
type podMetrics struct {
	Items []struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Timestamp  string `json:"timestamp"`
		Containers []struct {
			Usage struct {
				CPU    resource.Quantity `json:"cpu"`
				Memory resource.Quantity `json:"memory"`
			} `json:"usage"`
		} `json:"containers"`
	} `json:"items"`
}

// pollUsage asks for CPU and memory of both sides. A cluster without metrics.k8s.io, or one that does not let us ask,
// is asked on: the API may come.
func (w *Watch) pollUsage(ctx context.Context, gray, production labels.Selector) {
	if w.Metrics == nil {
		return
	}
	for {
		w.askUsage(ctx, plan.Gray, gray)
		w.askUsage(ctx, plan.Production, production)
		if !pause(ctx, usageEvery) {
			return
		}
	}
}

func (w *Watch) askUsage(ctx context.Context, s plan.Side, selector labels.Selector) {
	call, cancel := context.WithTimeout(ctx, usageEvery)
	defer cancel()
	var list podMetrics
	text, err := w.Metrics.Get().AbsPath("/apis/metrics.k8s.io/v1beta1/namespaces", w.Target.Namespace, "pods").
		Param("labelSelector", selector.String()).DoRaw(call)
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.Log.Debug("ask metrics.k8s.io", "side", string(s), "error", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noResources = apierrors.IsNotFound(err) || apierrors.IsForbidden(err)
	w.of(s).take(list, err, time.Now())
}

// take keeps new readings; pods without one are dropped.
func (s *side) take(list podMetrics, err error, now time.Time) {
	if err != nil {
		if now.Sub(s.asked) > usageOld {
			clear(s.usage)
		}
		return
	}
	s.asked = now
	here := map[string]bool{}
	for _, item := range list.Items {
		here[item.Metadata.Name] = true
		u := s.usage[item.Metadata.Name]
		if u == nil {
			u = &usage{}
			s.usage[item.Metadata.Name] = u
		}
		if u.stamp == item.Timestamp {
			continue
		}
		cpu, memory := 0.0, 0.0
		for _, c := range item.Containers {
			cpu += c.Usage.CPU.AsApproximateFloat64()
			memory += c.Usage.Memory.AsApproximateFloat64()
		}
		u.stamp, u.memory = item.Timestamp, memory
		if u.skipped {
			u.cpu, u.count = u.cpu+cpu, u.count+1
		}
		u.skipped = true
	}
	maps.DeleteFunc(s.usage, func(pod string, _ *usage) bool { return !here[pod] })
}

// readings returns memory and CPU by pod, in the order of the pods' names.
func (s *side) readings() (memory, cpu []float64) {
	for _, name := range slices.Sorted(maps.Keys(s.usage)) {
		u := s.usage[name]
		if u.stamp == "" {
			continue
		}
		memory = append(memory, u.memory)
		if u.count > 0 {
			cpu = append(cpu, u.cpu/float64(u.count))
		}
	}
	return memory, cpu
}
