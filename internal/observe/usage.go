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

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// usageEvery is the pause between questions to metrics.k8s.io, whose answers change about every 15 s.
const usageEvery = 5 * time.Second

// usageOld is when readings that could not be renewed are thrown away.
const usageOld = time.Minute

// keepReadings bounds the readings kept of a pod: 40 minutes at one in 10 s.
const keepReadings = 240

// A new pod fills its caches: its first readings are left out, so many and for so long from when it was ready.
const (
	warmReadings = 2
	warmUp       = time.Minute
)

// pastReadings is how many readings of earlier windows a sample has of a pod, at most.
const pastReadings = 30

// usage is what metrics.k8s.io said of one pod.
type usage struct {
	told   time.Time // when it last said something
	at     time.Time // of the last reading
	seen   int
	window int // the number of the window that the last reading was seen in
	kept   []reading
}

// reading is one that counts, and the number of the window that it belongs to.
type reading struct {
	judge.Reading
	window int
}

// add keeps a reading that is new, and marks the first one that is seen in a window.
func (u *usage) add(r reading) {
	if !r.At.After(u.at) {
		return
	}
	r.First = u.window != r.window
	u.at, u.window = r.At, r.window
	if u.seen++; u.seen > warmReadings {
		u.kept = append(u.kept[max(0, len(u.kept)+1-keepReadings):], r)
	}
}

// podMetrics is the part that is needed of a PodMetricsList of metrics.k8s.io/v1beta1.
type podMetrics struct {
	Items []struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Timestamp  time.Time `json:"timestamp"`
		Containers []struct {
			Name  string `json:"name"`
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
	w.of(s).take(list, err, time.Now(), w.window.number)
}

// take keeps new readings of pods that are known; pods without one are dropped.
func (s *side) take(list podMetrics, err error, now time.Time, window int) {
	if err != nil {
		if now.Sub(s.asked) > usageOld {
			clear(s.usage)
		}
		return
	}
	s.asked = now
	for _, item := range list.Items {
		p := s.podNamed(item.Metadata.Name)
		if p == nil {
			continue
		}
		u := s.usage[item.Metadata.Name]
		if u == nil {
			u = &usage{window: -1}
			s.usage[item.Metadata.Name] = u
		}
		r := reading{Reading: judge.Reading{At: item.Timestamp}, window: window}
		for _, c := range item.Containers {
			if slices.Contains(p.containers, c.Name) {
				r.CPU += c.Usage.CPU.AsApproximateFloat64()
				r.Memory += c.Usage.Memory.AsApproximateFloat64()
			}
		}
		u.add(r)
		u.told = now
	}
	// A node that could not be asked is missing in an answer, with all of its pods.
	maps.DeleteFunc(s.usage, func(pod string, u *usage) bool { return s.podNamed(pod) == nil || now.Sub(u.told) > usageOld })
}

func (s *side) podNamed(name string) *pod {
	for _, p := range s.pods {
		if p.name == name {
			return p
		}
	}
	return nil
}

// usages are the readings by pod, in the order of the pods' names: those of a window, and the last ones before it.
func (s *side) usages(window int) []judge.Usage {
	var all []judge.Usage
	for _, name := range slices.Sorted(maps.Keys(s.usage)) {
		if p := s.podNamed(name); p != nil {
			all = append(all, s.usage[name].of(p, window, s.loads))
		}
	}
	return all
}

func (u *usage) of(p *pod, window int, loads map[int]float64) judge.Usage {
	warm := p.readyAt.Add(warmUp)
	n := judge.Usage{Pod: p.name, Limit: p.memory, Warming: !p.served || u.seen <= warmReadings || u.at.Before(warm)}
	for i, r := range u.kept {
		if !p.served || r.At.Before(warm) || r.window != window && i < len(u.kept)-pastReadings {
			continue
		}
		r.Ago, r.Load = window-r.window, loads[r.window]
		n.Readings = append(n.Readings, r.Reading)
	}
	return n
}

// brief is the sample with the last reading of each pod: samples are written down more often than readings come.
func brief(s judge.Sample) judge.Sample {
	for _, n := range []*judge.Numbers{&s.OnTrial, &s.Reference} {
		n.Usage = slices.Clone(n.Usage)
		for i, u := range n.Usage {
			n.Usage[i].Readings = u.Readings[max(0, len(u.Readings)-1):]
		}
	}
	return s
}
