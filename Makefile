# Everything runs from a fresh clone: what is missing is built into .build/ (ignored), or installed by apt where that
# may be done, or named in one line.

SHELL       := /bin/sh
BUILD       := $(CURDIR)/.build
GO          ?= go
FUZZTIME    ?= 20s
BASE        ?= HEAD~1
COUNT       ?= 6
BENCHTIME   ?= 1s
PACKAGES    := ./... $(addprefix ./,$(wildcard testdata/app testdata/corpus testdata/demo))

# The test that stops a replica of the gateway: no other may run beside it.
ALONE       := ^TestAStoppedGatewayReplica$$

# The longest first.
TESTED      := ./internal/e2e $$($(GO) list $(PACKAGES) | grep -v /e2e$$)

# One way to compile for everything but the race detector, so that builds, vet and lint share Go's cache.
PLAIN       := CGO_ENABLED=0 GOFLAGS="$(strip $(shell $(GO) env GOFLAGS) -trimpath)"

# The race detector needs a C compiler.
RACE        := $(shell command -v gcc >/dev/null 2>&1 && echo -race)

# Tools of make lint and make bench. The version stands in the path, so that a new one is a new file.
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT  := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
BENCHSTAT   := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
NPM_TOOLS   := @action-validator/cli@0.6.0 @action-validator/core@0.6.0 @ibm/tekton-lint@1.1.0
TOOLS       := $(BUILD)/tools
golangci    := $(TOOLS)/$(notdir $(GOLANGCI))/golangci-lint
actionlint  := $(TOOLS)/$(notdir $(ACTIONLINT))/actionlint
benchstat   := $(TOOLS)/$(notdir $(BENCHSTAT))/benchstat
npm         := $(BUILD)/npm/node_modules/.bin
npm_stamp   := $(BUILD)/npm/$(subst /,_,$(subst $() ,+,$(NPM_TOOLS)))

.PHONY: help build test demo judge corpus bench crash lint lint-go lint-ci golden fuzz cluster image

help: ## show this
	@awk -F ': .*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the tool, as .build/bin/gray-upgrade
	$(PLAIN) $(GO) build -o $(BUILD)/bin/gray-upgrade ./cmd/gray-upgrade

test: $(BUILD)/bin/cluster ## every test, on a real cluster with a real gateway (needs root; the first time builds both)
	$(GO) mod download
	$(PLAIN) $(GO) vet -tags crash $(PACKAGES)
	cd testdata/cluster && $(PLAIN) $(GO) vet . ./pause && $(PLAIN) $(GO) test . ./pause
	@test -n "$(RACE)" || echo "no gcc: the tests run without the race detector"
	$(GO) build $(RACE) $(PACKAGES)
	env -u KUBECONFIG $(BUILD)/bin/cluster run -- env GOPROXY=off sh -ec '\
		$(GO) test $(RACE) -shuffle=on -p 2 -parallel 4 -timeout 60m -skip "$(ALONE)" $(TESTED); \
		$(GO) test $(RACE) -timeout 10m -run "$(ALONE)" ./internal/e2e'

demo: $(BUILD)/bin/cluster ## upgrade a real service under load, then throw a bad version out (five minutes)
	$(GO) mod download
	CLUSTER_WITHOUT="prometheus loki" $(BUILD)/bin/cluster run -- env GOPROXY=off $(GO) run ./testdata/demo

judge: ## recall and precision of the verdict, on 1,720 simulated upgrades; writes docs/verdict.md (two minutes)
	JUDGE=full $(GO) test -count=1 -v -run "^(TestErrorsAreFoundInSeconds|TestGoodImagesAreSeldomBlamed)$$" ./internal/judge
	JUDGE=full $(GO) test -count=1 -v -run "^TestCorpus$$" ./internal/observe
	JUDGE=full $(GO) test -count=1 ./testdata/corpus

corpus: $(BUILD)/bin/cluster ## record upgrades of ONLY=REGEXP kinds (all of them) on the cluster into testdata/corpus (a quarter of an hour)
	$(GO) mod download
	CLUSTER_WITHOUT="prometheus loki" env -u KUBECONFIG $(BUILD)/bin/cluster run -- env GOPROXY=off $(GO) run ./testdata/corpus -only '$(ONLY)'

# Both sides by turns, so that what else the machine does slows both alike; on one core.
bench: $(benchstat) ## speed of what is read, this tree against BASE (HEAD~1): COUNT (6) runs of BENCHTIME (1s) each
	rm -rf $(BUILD)/bench && git worktree prune && git worktree add --quiet --detach $(BUILD)/bench/base $(BASE)
	ln -s $(CURDIR) $(BUILD)/bench/tree
	@set -e; cd $(BUILD)/bench; touch base.txt tree.txt; \
	for dir in $$(cd tree && grep -rl --include='*_test.go' '^func Benchmark' cmd internal | xargs -n 1 dirname | sort -u); do \
		for side in base tree; do \
			test ! -d $$side/$$dir || (cd $$side/$$dir && $(PLAIN) $(GO) test -c -o $(BUILD)/bench/$$side.test .); done; \
		for turn in $$(seq $(COUNT)); do for side in base tree; do \
			test ! -x $$side.test || (cd $$side/$$dir && $(BUILD)/bench/$$side.test \
				-test.run '^$$' -test.bench . -test.benchtime $(BENCHTIME) -test.cpu 1) >>$$side.txt; done; done; \
		rm -f base.test tree.test; done
	rm $(BUILD)/bench/tree && git worktree remove --force $(BUILD)/bench/base
	$(benchstat) base=$(BUILD)/bench/base.txt tree=$(BUILD)/bench/tree.txt

crash: $(BUILD)/bin/cluster ## kill the tool at each of its writes, break the API server; POINTS=40: only so many kills in each scenario
	$(GO) mod download
	env -u KUBECONFIG $(BUILD)/bin/cluster run -- env GOPROXY=off CRASH=all POINTS=$(POINTS) \
		$(GO) test -tags crash -count=1 -v -run "TestKilledAtEveryWrite|TestFaultyAPIServer|TestEachCall|TestAnAPIServer|TestWatchdog|TestTwoRuns|TestABudget|TestAQuota|TestTheService|TestNodeStops" -parallel 6 -timeout 8h ./internal/e2e

lint: lint-go lint-ci ## code, workflows, action and Tekton files

lint-go: $(golangci)
	$(PLAIN) $(golangci) run $(PACKAGES)
	cd testdata/cluster && $(PLAIN) $(golangci) run . ./pause && test -z "$$(gofmt -l kube | tee /dev/stderr)"

lint-ci: $(actionlint) $(npm_stamp)
	$(actionlint) -shellcheck= -pyflakes= .github/workflows/*.yml $(wildcard testdata/examples/*workflow*.yml)
	$(foreach file,$(wildcard action.yml .github/workflows/*.yml),$(npm)/action-validator $(file) &&) true
	$(npm)/tekton-lint 'tekton/**/*.yaml'

golden: ## write the golden files anew, then look at the diff
	$(GO) test $$($(GO) list -f '{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./... | \
		grep internal/golden | cut -d ' ' -f 1) -update
	git diff --stat

fuzz: ## what parses foreign text, FUZZTIME (20s) each
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' cmd internal testdata/app | xargs -n 1 dirname | sort -u); do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z]*' $$dir/*_test.go | cut -d ' ' -f 2); do \
			echo "$$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$dir; done; done

cluster: $(BUILD)/bin/cluster ## build the embedded cluster: Kubernetes, gateway, demo app
	$(BUILD)/bin/cluster build

image: ## the container image that CI runs, as gray-upgrade:dev
	docker build -t gray-upgrade:dev .

# Go's own cache decides what there is to do.
.PHONY: $(BUILD)/bin/cluster
$(BUILD)/bin/cluster:
	cd testdata/cluster && $(PLAIN) $(GO) build -o $@ .

$(golangci):
	@echo "building golangci-lint (2 to 3 CPU minutes the first time)"
	GOBIN=$(@D) $(GO) install $(GOLANGCI)

$(actionlint):
	GOBIN=$(@D) $(GO) install $(ACTIONLINT)

$(benchstat):
	GOBIN=$(@D) $(GO) install $(BENCHSTAT)

$(npm_stamp):
	@command -v npm >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm; } || \
		{ echo "make lint needs npm: apt-get install nodejs npm"; exit 1; }
	rm -rf $(BUILD)/npm && mkdir -p $(BUILD)/npm
	npm install --no-package-lock --no-audit --no-fund --prefix $(BUILD)/npm $(NPM_TOOLS)
	touch $@
