package verify

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// routeAgain is the time between two tries of a route that is not served yet.
const routeAgain = 250 * time.Millisecond

// anyAnswer is what is sent through the gateway where no check for gray may be: only the side that answers counts.
func (p RouteProbe) anyAnswer() trial {
	if p.Any.Name == "" {
		return trial{check: config.Check{Name: "route", Path: "/"}}
	}
	return trial{check: p.Any}
}

// led keeps the trials whose path the route leads to the Service: a pod may answer more than the gateway lets through, and
// by other paths.
func (p RouteProbe) led(trials []trial) []trial {
	if p.Leads == nil {
		return trials
	}
	return slices.DeleteFunc(trials, func(t trial) bool { return !p.Leads(t.check.Path) })
}

// Route makes the account route stand and asks, through the gateway with its token, every GET and HEAD check for gray that
// the route leads there, as every account, until the answers are right and come from gray, at most 20 s: a gateway needs a moment to serve a new
// route. Then it makes sure that a request without the token does not reach gray; so it must not be called while gray has
// users. Every pod has passed the same checks directly before: what fails here is the route, FaultInfrastructure.
func (v *Verifier) Route(ctx context.Context) ([]plan.Proof, error) {
	trials, err := v.trials(func(c config.Check) bool { return c.On(string(plan.Gray)) && readOnly(c) })
	if err != nil {
		return nil, err
	}
	probe, err := v.Options.Route(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the account route: %w", err)
	}
	door := door{Verifier: v, RouteProbe: probe, mask: newMask(append(slices.Clone(v.secrets), probe.Token))}
	if trials = probe.led(trials); len(trials) == 0 {
		trials, door.anybody = []trial{probe.anyAnswer()}, true
	}
	production, err := door.without(ctx, trials[0])
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(v.routeWait)
	var proofs []plan.Proof
	var lines []string
	for _, t := range trials {
		r := door.until(ctx, t, production, deadline)
		if err := ctx.Err(); err != nil {
			return proofs, err
		}
		p := r.proof()
		if r.state != passed {
			p.Verdict = judge.Fail
			lines = append(lines, r.told())
		}
		proofs = append(proofs, p)
	}
	if len(lines) > 0 {
		return proofs, plan.Failf(plan.FaultInfrastructure, "", "the account route %s", joined(lines))
	}
	return proofs, door.closed(ctx, trials[0])
}

// door is the account route as asked from outside.
type door struct {
	*Verifier
	RouteProbe
	mask    mask
	anybody bool // only the side that answers counts
}

// until asks until the answer is right or the time is over.
func (d door) until(ctx context.Context, t trial, production string, deadline time.Time) result {
	for {
		r := d.through(ctx, t, production)
		if r.state == passed || !time.Now().Before(deadline) || !pause(ctx, routeAgain) {
			return r
		}
	}
}

// through asks once with the token. production is what the side header says without it.
func (d door) through(ctx context.Context, t trial, production string) result {
	r := result{pod: Pod{Name: "route"}, side: plan.Gray, trial: t, want: wantStatus(t.check)}
	a, state, err := d.sendWith(ctx, t, d.Token)
	r.state, r.took = state, a.took
	if err != nil {
		r.want, r.got = wantFrom(t.check, state), d.mask.text(err.Error())
		return r
	}
	if want, got := d.fromGray(a, production); want != "" {
		r.state, r.want, r.got = wrong, want, got
		return r
	}
	r.want, r.got = "an answer from gray", "an answer from gray"
	if d.anybody {
		return r
	}
	if want, got := expect(t, a, d.mask); want != "" {
		r.state, r.want, r.got = wrong, want, got
	}
	return r
}

// fromGray says what is wrong with the side header of an answer, nothing where it is gray's.
func (d door) fromGray(a answer, production string) (want, got string) {
	side := a.header.Get(d.SideHeader)
	got = fmt.Sprintf("%s on status %d", d.mask.header(a.header.Values(d.SideHeader)), a.status)
	switch {
	case !d.ownHeader() && side == "":
		return "header " + d.SideHeader, got
	case !d.ownHeader() && side == production:
		return fmt.Sprintf("header %s with another value than production's", d.SideHeader), got
	case d.ownHeader() && side != string(plan.Gray):
		return fmt.Sprintf("header %s: %q", d.SideHeader, plan.Gray), got
	}
	return "", ""
}

// ownHeader says whether the side header is ours, on gray's answers alone.
func (d door) ownHeader() bool { return strings.EqualFold(d.SideHeader, plan.SideHeader) }

// without asks without the token and returns what the side header says: without it, an answer of gray could not be told.
func (d door) without(ctx context.Context, t trial) (string, error) {
	a, err := d.unmarked(ctx, t)
	return a.header.Get(d.SideHeader), err
}

// closed makes sure that gray is not reached without the token.
func (d door) closed(ctx context.Context, t trial) error {
	a, err := d.unmarked(ctx, t)
	if err != nil {
		return err
	}
	if d.ownHeader() && a.header.Get(d.SideHeader) == string(plan.Gray) {
		return plan.Failf(plan.FaultInfrastructure, "", "a request without the token of the account route reached gray (status %d), which has no users yet", a.status)
	}
	return nil
}

// unmarked asks without the token until there is an answer: one request that was lost says nothing.
func (d door) unmarked(ctx context.Context, t trial) (answer, error) {
	for deadline := time.Now().Add(d.routeWait); ; {
		a, _, err := d.sendWith(ctx, t, "")
		switch {
		case err == nil:
			return a, nil
		case ctx.Err() != nil:
			return answer{}, ctx.Err()
		case !time.Now().Before(deadline):
			return answer{}, plan.Failf(plan.FaultInfrastructure, "", "the route does not answer without the token of the account route: %s", d.mask.text(err.Error()))
		}
		pause(ctx, routeAgain)
	}
}

func (d door) sendWith(ctx context.Context, t trial, token string) (answer, state, error) {
	req, err := request(ctx, strings.TrimSuffix(d.URL, "/"), t)
	if err != nil {
		return answer{}, unreached, err
	}
	if d.Host != "" {
		req.Host = d.Host // the route's: a check's own Host is for pods
	}
	if token != "" {
		req.Header.Set(d.Header, token)
	}
	return d.send(d.Client, req, within(t.check))
}

func readOnly(c config.Check) bool {
	return c.Method == "" || c.Method == http.MethodGet || c.Method == http.MethodHead
}
