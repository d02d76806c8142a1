package judge

// Trend is a number of each side over equal parts of the window, oldest first.
type Trend struct {
	Unit      string    `json:"unit"`
	OnTrial   []float64 `json:"onTrial"`
	Reference []float64 `json:"reference"`
}

// maxPoints is how many parts a course has at most: as many as fit into a line of a summary.
const maxPoints = 30

// Course is how the requests of both sides went in a window. The zero Course is one that has not begun.
type Course struct {
	points []Block
	merged int // blocks in each point but the last
	last   int // blocks in the last point
}

// Add takes the next block. When there are too many points, two become one.
func (c *Course) Add(b Block) {
	c.merged = max(1, c.merged)
	if n := len(c.points); n > 0 && c.last < c.merged {
		c.points[n-1] = joined(c.points[n-1], b)
		c.last++
		return
	}
	if len(c.points) == maxPoints {
		for i := range maxPoints / 2 {
			c.points[i] = joined(c.points[2*i], c.points[2*i+1])
		}
		c.points, c.merged = c.points[:maxPoints/2], 2*c.merged
	}
	c.points, c.last = append(c.points, b), 1
}

func joined(a, b Block) Block {
	b.OnTrial, b.Reference = added(a.OnTrial, b.OnTrial), added(a.Reference, b.Reference)
	return b
}

func added(a, b Counts) Counts {
	return Counts{Requests: a.Requests + b.Requests, Errors: a.Errors + b.Errors, Slow: a.Slow + b.Slow}
}

// Explain returns the checks with the course of what they judge: the share of errors, and of slow answers.
func (c *Course) Explain(checks []Check) []Check {
	if len(c.points) == 0 {
		return checks
	}
	for i := range checks {
		switch checks[i].Name {
		case NameErrors:
			checks[i].Trend = c.trend("% errors", func(n Counts) float64 { return n.Errors })
		case NameLatency:
			checks[i].Trend = c.trend("% slow", func(n Counts) float64 { return n.Slow })
		}
	}
	return checks
}

func (c *Course) trend(unit string, of func(Counts) float64) *Trend {
	t := &Trend{Unit: unit}
	for _, p := range c.points {
		t.OnTrial = append(t.OnTrial, 100*ratio(of(p.OnTrial), p.OnTrial.Requests))
		t.Reference = append(t.Reference, 100*ratio(of(p.Reference), p.Reference.Requests))
	}
	return t
}
