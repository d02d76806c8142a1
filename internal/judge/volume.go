package judge

import "fmt"

// NameLogVolume is the rule of how much is written.
const NameLogVolume = "log-volume"

// A storm of log lines fills disks and hides what matters. A release that logs a little more than the last one is none, so
// it takes all of these, by request and by container: many times as much, by so many lines, and fast.
const (
	stormRatio      = 5  // times what the reference writes
	stormPerRequest = 5  // lines a request more
	stormPerSecond  = 50 // lines a second of one container
)

// logVolume compares the lines at any level by request, and by container and second, of a whole step. It holds no step back:
// what is not read or not served is told by other rules.
func logVolume(s Sample) Check {
	c := Check{Name: NameLogVolume, Unit: "lines a request"}
	trial, ref := s.OnTrial, s.Reference
	if s.ReferenceIsPast || s.NoTraffic || trial.Streams == 0 || ref.Streams == 0 || trial.Traffic.Requests <= 0 || ref.Traffic.Requests <= 0 {
		return c.unknown("no logs and requests of both sides")
	}
	mine, theirs := linesByRequest(trial), linesByRequest(ref)
	fast, normal := s.linesBySecond(trial), s.linesBySecond(ref)
	if !usable(mine, theirs, fast, normal) {
		return c.unknown("the counts of log lines are unusable")
	}
	c.OnTrial, c.Reference = fmt.Sprintf("%.1f lines a request", mine), fmt.Sprintf("%.1f lines a request", theirs)
	c.Why = fmt.Sprintf("%s writes %.1f lines a request, %s %.1f; a container %.0f and %.0f lines a second", trial.Name, mine, ref.Name, theirs, fast, normal)
	limit := max(stormRatio*theirs, theirs+stormPerRequest)
	c = c.decide(mine, limit)
	if c.Verdict == Fail && fast < max(stormPerSecond, stormRatio*normal) {
		c.Verdict = Pass
		c.Why += "; no storm by container"
	}
	return c
}

// linesByRequest takes what could not be read to be as much as what could.
func linesByRequest(n Numbers) float64 {
	return float64(n.Lines) * float64(n.Streams+n.Unread) / float64(n.Streams) / n.Traffic.Requests
}

func (s Sample) linesBySecond(n Numbers) float64 {
	return ratio(float64(n.Lines)/float64(n.Streams), s.seconds(n))
}
