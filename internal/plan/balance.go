package plan

import (
	"fmt"
	"math"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// Balance checks, at the weight where both sides' pods should carry the same, that they do (step 3b of the method):
// requests by pod of the two sides agree within 15 %, from 1,000 requests on. Fewer are "not measured", which is
// said and stops nothing.
func Balance(s judge.Sample, grayPods, productionPods int32) judge.Check {
	c := judge.Check{Name: "balance", Limit: balanceTolerance, Unit: "%", Verdict: judge.Inconclusive}
	gray, production := s.OnTrial.Traffic.Requests, s.Reference.Traffic.Requests
	if gray+production < balanceRequests || grayPods == 0 || productionPods == 0 {
		c.Why = fmt.Sprintf("not measured: %.0f requests, %d are needed", gray+production, balanceRequests)
		return c
	}
	byGray, byProduction := gray/float64(grayPods), production/float64(productionPods)
	c.Got = 100 * math.Abs(byGray-byProduction) / math.Max(byGray, byProduction)
	c.Why = fmt.Sprintf("%.0f requests by gray pod, %.0f by production pod: %.1f %% apart", byGray, byProduction, c.Got)
	c.Verdict = judge.Pass
	if c.Got > c.Limit {
		c.Verdict = judge.Fail
	}
	return c
}

// balanceTolerance is in percent; balanceRequests is how many requests it takes to tell.
const (
	balanceTolerance = 15
	balanceRequests  = 1000
)
