package prometheus

import (
	"context"
	"errors"
	"fmt"
	"math"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/monitor"
)

// QueryError says that a query is to blame, and not who answers it: as it stands it will never have one number as its answer.
type QueryError struct{ Why string }

// Error is what is wrong with it.
func (e *QueryError) Error() string { return e.Why }

// meaning is what an answer says of a side:
//
//	a scalar, or one series     its value
//	NaN, +Inf, -Inf             no number yet: nothing happened in the query's window; inconclusive
//	no series                   no number yet; inconclusive, and said so if it stays like this for a whole step
//	two series or more          the query is wrong: which of them is meant?
//	a histogram, range, string  the query is wrong
//
// A server that answers anything but this (4xx, 5xx, no JSON, more than 1 MiB) or nothing for 5 s is a broken monitor; see
// explained. In preflight whatever is wrong ends the command with exit code 2; while users are on gray, after 10 s without a
// good answer, it is an infrastructure fault: never the image's, and never a pass.
func meaning(v model.Value) (judge.Answer, error) {
	switch v := v.(type) {
	case *model.Scalar:
		return number(v.Value), nil
	case model.Vector:
		switch {
		case len(v) == 0:
			return judge.Answer{None: "found no series"}, nil
		case len(v) > 1:
			return judge.Answer{}, &QueryError{fmt.Sprintf("it finds %d series and must find one: put sum(), max() or avg() around it", len(v))}
		case v[0].Histogram != nil:
			return judge.Answer{}, &QueryError{"it finds a histogram and must find a number: put histogram_quantile() around it"}
		}
		return number(v[0].Value), nil
	case model.Matrix:
		return judge.Answer{}, &QueryError{"it is a range of values and must be one: put rate() or avg_over_time() around it"}
	}
	return judge.Answer{}, errors.New("the answer is none that Prometheus gives")
}

func number(v model.SampleValue) judge.Answer {
	x := float64(v)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return judge.Answer{None: fmt.Sprintf("was %v: nothing to count in its window", v)}
	}
	return judge.Answer{Measured: judge.Measured{Value: x}}
}

// textAnswer is what the client says of an answer that is a string: it does not decode one.
const textAnswer = `unexpected value type "string"`

// explained says in a line what went wrong, and whether the query is to blame: 400 and 422 with Prometheus' own words for what
// it cannot parse or execute (https://prometheus.io/docs/prometheus/latest/querying/api/).
func explained(ctx context.Context, err error) error {
	var own *v1.Error
	switch {
	case errors.As(err, &own) && (own.Type == v1.ErrBadData || own.Type == v1.ErrExec):
		return &QueryError{monitor.Cut("Prometheus says: " + own.Msg)}
	case errors.As(err, &own) && own.Msg == textAnswer:
		return &QueryError{"it is a text and must be a number"}
	}
	return monitor.Explained(ctx, err)
}
