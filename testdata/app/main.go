// Command app is the demo shop: a web front and a cart behind it, with faults that can be switched on while it
// runs. It behaves like a plain service on purpose: SIGTERM ends it at once unless --lame-duck says otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// settings is what flags and environment say; a flag wins over its variable.
type settings struct {
	role, mode, version  string
	listen, adminListen  string
	cartURL, testURL     string
	faults, faultsFile   string
	nameVersion, access  bool
	work, lameDuck, jobs time.Duration
	seed                 uint64
}

func main() {
	s, err := readSettings(os.Args[1:], os.LookupEnv)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

// readSettings reads the flags. A flag that is not given takes its variable's value: --cart-url is CART_URL and so
// on, but --version is APP_VERSION and --faults is APP_FAULTS. The last of two equal flags wins, so that arguments
// may be appended to override.
func readSettings(args []string, env func(string) (string, bool)) (settings, error) {
	var s settings
	f := flag.NewFlagSet("app", flag.ContinueOnError)
	f.StringVar(&s.role, "role", "web", "web, cart, or test: ask a shop and judge its answers")
	f.StringVar(&s.mode, "mode", "production", "production, or gray: background jobs off")
	f.StringVar(&s.version, "version", "dev", "version named in answers")
	f.BoolVar(&s.nameVersion, "name-version", true, "name version and mode in answers")
	f.StringVar(&s.listen, "listen", ":8080", "address of the shop")
	f.StringVar(&s.adminListen, "admin-listen", ":8081", "address of /faults and /stats; empty: none")
	f.StringVar(&s.cartURL, "cart-url", "", "base URL of the cart; empty: answer /cart itself")
	f.StringVar(&s.testURL, "gray-test-url", "", "shop that the role test asks")
	f.StringVar(&s.faults, "faults", "", "faults from the start, as JSON")
	f.StringVar(&s.faultsFile, "faults-file", "", "file of faults, read again every 100 ms")
	f.BoolVar(&s.access, "access-log", true, "log a line per request")
	f.DurationVar(&s.work, "work", 2*time.Millisecond, "time an answer takes")
	f.DurationVar(&s.lameDuck, "lame-duck", 0, "keep serving this long after SIGTERM")
	f.DurationVar(&s.jobs, "jobs-every", 10*time.Second, "pause between background jobs in production mode")
	f.Uint64Var(&s.seed, "seed", 0, "seed of the shares of faults; 0: one of its own, so that the pods of a service do not fail in step")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if err := fromEnv(f, env); err != nil {
		return s, err
	}
	return s, s.check(f.Args())
}

// fromEnv sets the flags that were not given from their variables.
func fromEnv(f *flag.FlagSet, env func(string) (string, bool)) error {
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	var faults []error
	f.VisitAll(func(fl *flag.Flag) {
		name := strings.ReplaceAll(strings.ToUpper(fl.Name), "-", "_")
		if fl.Name == "version" || fl.Name == "faults" {
			name = "APP_" + name
		}
		value, ok := env(name)
		if given[fl.Name] || !ok || value == "" {
			return
		}
		if err := f.Set(fl.Name, value); err != nil {
			faults = append(faults, fmt.Errorf("environment variable %s: %w", name, err))
		}
	})
	return errors.Join(faults...)
}

func (s settings) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case s.role != "web" && s.role != "cart" && s.role != "test":
		return fmt.Errorf("--role=%s: must be web, cart or test", s.role)
	case s.role == "test" && s.testURL == "":
		return errors.New("--role=test needs --gray-test-url")
	case s.mode != "production" && s.mode != "gray":
		return fmt.Errorf("--mode=%s: must be production or gray", s.mode)
	}
	return nil
}

// run serves until a signal ends the process.
func run(s settings) error {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil)).With("role", s.role)
	if s.role == "test" {
		return test(s.testURL, log)
	}
	if s.seed == 0 {
		s.seed = rand.Uint64()
	}
	shop, err := newShop(s, log)
	if err != nil {
		return err
	}
	jobs := "on"
	if s.mode == "gray" {
		jobs = "off"
	}
	log.Info("started", "version", s.version, "mode", s.mode, "backgroundJobs", jobs, "listen", s.listen)
	ctx := context.Background()
	go shop.press(ctx)
	if s.mode == "production" {
		go shop.runJobs(ctx, s.jobs)
	}
	if s.faultsFile != "" {
		go shop.watchFaults(ctx, s.faultsFile)
	}
	failed := make(chan error, 2)
	if s.adminListen != "" {
		go func() { failed <- http.ListenAndServe(s.adminListen, shop.admin()) }()
	}
	server := &http.Server{Addr: s.listen, Handler: shop}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return err
	}
	go func() { failed <- server.Serve(listener) }()
	return untilSignal(failed, server, s.lameDuck, log)
}

// test asks a shop ten times and returns an error unless every answer is right.
func test(url string, log *slog.Logger) error {
	client := http.Client{Timeout: 5 * time.Second}
	for range 10 {
		answer, err := client.Get(url)
		if err != nil {
			return err
		}
		_ = answer.Body.Close()
		log.Info("asked", "url", url, "status", answer.StatusCode)
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answered %d", url, answer.StatusCode)
		}
	}
	return nil
}

// untilSignal returns at the first signal, which ends the process with requests in flight; with a lame duck it
// serves on for that long and then lets the requests in flight finish.
func untilSignal(failed <-chan error, server *http.Server, lameDuck time.Duration, log *slog.Logger) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	select {
	case err := <-failed:
		return err
	case sig := <-signals:
		log.Info("stopping", "signal", sig.String(), "lameDuck", lameDuck.String())
	}
	if lameDuck <= 0 {
		return nil
	}
	time.Sleep(lameDuck)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}
