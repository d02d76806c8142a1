package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Bin is the folder of the programs that the cluster built.
func Bin(name string) string { return filepath.Join(os.Getenv("CLUSTER_BIN"), name) }

// Answer is one request of the load and what came of it.
type Answer struct {
	Sent    int64  `json:"t"`
	Done    int64  `json:"done"`
	Code    int    `json:"code"`
	Side    string `json:"side"`
	Version string `json:"version"`
	App     bool   `json:"app"`
	Method  string `json:"method"`
	Lost    bool   `json:"lost"`
	Why     string `json:"why"`
	Error   string `json:"error"`
}

// At is when the answer was there.
func (a Answer) At() time.Time { return time.Unix(0, a.Done) }

// Bad says that the shop itself answered with an error.
func (a Answer) Bad() bool { return a.App && a.Code >= 500 }

// Summary is what the load says at its end.
type Summary struct {
	Requests int            `json:"requests"`
	Posts    int            `json:"posts"`
	Lost     int            `json:"lost"`
	Whys     map[string]int `json:"whys"`
	Codes    map[string]int `json:"codes"`
	Sides    map[string]int `json:"sides"`
	Rate     float64        `json:"rate"`
	P50      float64        `json:"p50Ms"`
	P99      float64        `json:"p99Ms"`
}

// Load is an open-loop load on a shop through the gateway; every fourth request is a POST, none is sent twice.
type Load struct {
	cmd    *exec.Cmd
	out    bytes.Buffer
	errors bytes.Buffer
	file   string
}

// StartLoad sends rate requests a second until Stop, or for at most ten minutes.
func (s *Shop) StartLoad(folder string, rate int) (*Load, error) {
	l := &Load{file: filepath.Join(folder, "answers-"+strconv.FormatInt(time.Now().UnixNano(), 36)+".jsonl")}
	l.cmd = exec.Command(Bin("cluster"), "load", "--url", GatewayURL(), "--host", s.Host(),
		"--rate", strconv.Itoa(rate), "--duration", "10m", "--out", l.file)
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.errors
	return l, l.cmd.Start()
}

// Stop ends the load, waits for the answers that are under way, and returns all of them.
func (l *Load) Stop() (Summary, []Answer, error) {
	var s Summary
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return s, nil, err
	}
	if err := l.cmd.Wait(); err != nil {
		return s, nil, fmt.Errorf("load: %w: %s", err, l.errors.String())
	}
	if err := json.Unmarshal(l.out.Bytes(), &s); err != nil {
		return s, nil, fmt.Errorf("load: summary %q: %w", l.out.String(), err)
	}
	answers, err := readAnswers(l.file)
	return s, answers, err
}

func readAnswers(file string) ([]Answer, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []Answer
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var a Answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return nil, fmt.Errorf("%s line %d: %w", file, len(all)+1, err)
		}
		all = append(all, a)
	}
	return all, nil
}

// LastAfterFirstBad is how long after the first bad answer from that version (or side, where the shop names no version)
// its last answer, good or bad, reached a user. ok is false where no bad answer was seen.
func LastAfterFirstBad(answers []Answer, of func(Answer) bool) (d time.Duration, ok bool) {
	var first, last time.Time
	for _, a := range answers {
		if a.Bad() && of(a) && (first.IsZero() || a.At().Before(first)) {
			first = a.At()
		}
	}
	if first.IsZero() {
		return 0, false
	}
	for _, a := range answers {
		if of(a) && a.At().After(last) {
			last = a.At()
		}
	}
	return last.Sub(first), true
}
