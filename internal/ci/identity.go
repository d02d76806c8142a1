package ci

import (
	"fmt"
	"os"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// maxWord is the most bytes of each part of an identity.
const maxWord = 300

// Identity says who runs this, for whoever meets its lease. GRAY_RUN, GRAY_RUN_URL and GRAY_ACTOR go before what the CI
// system says; no part is secret.
func (h *Host) Identity() plan.Identity {
	id := h.identity()
	for _, o := range []struct {
		field *string
		name  string
	}{{&id.Run, "GRAY_RUN"}, {&id.URL, "GRAY_RUN_URL"}, {&id.Actor, "GRAY_ACTOR"}} {
		if v := h.getenv(o.name); v != "" {
			*o.field = v
		}
		*o.field = Line(h.masked(*o.field), maxWord)
	}
	id.Rerun = Line(h.masked(id.Rerun), maxWord)
	return id
}

func (h *Host) identity() plan.Identity {
	env := h.getenv
	switch {
	case h.Name == "github":
		return h.githubIdentity()
	case env("GITLAB_CI") == "true":
		return plan.Identity{Run: "gitlab/" + env("CI_PROJECT_PATH") + "/" + env("CI_JOB_ID"), URL: env("CI_JOB_URL"), Actor: env("GITLAB_USER_LOGIN")}
	case env("CI") == "woodpecker":
		return plan.Identity{
			Run: "woodpecker/" + env("CI_REPO") + "/" + env("CI_PIPELINE_NUMBER") + "/" + env("CI_WORKFLOW_NAME") + "/" + env("CI_STEP_NAME"),
			URL: env("CI_PIPELINE_URL"), Actor: env("CI_PIPELINE_AUTHOR")}
	case env("DRONE") == "true":
		return plan.Identity{
			Run: "drone/" + env("DRONE_REPO") + "/" + env("DRONE_BUILD_NUMBER") + "/" + env("DRONE_STAGE_NUMBER") + "/" + env("DRONE_STEP_NUMBER"),
			URL: env("DRONE_BUILD_LINK"), Actor: env("DRONE_BUILD_TRIGGER")}
	case h.Name == "tekton": // the Task says the rest in GRAY_RUN
		return plan.Identity{Run: "tekton/" + hostname()}
	}
	user := env("USER")
	if user == "" {
		user = fmt.Sprintf("uid %d", os.Getuid())
	}
	return plan.Identity{Run: fmt.Sprintf("%s@%s %d", user, hostname(), os.Getpid()), Actor: user}
}

// githubIdentity names the run, its attempt, its job and the runner: jobs of one matrix share all but the last.
func (h *Host) githubIdentity() plan.Identity {
	env := h.getenv
	id := plan.Identity{Actor: env("GITHUB_TRIGGERING_ACTOR")}
	if id.Actor == "" {
		id.Actor = env("GITHUB_ACTOR")
	}
	id.Run = "github/" + env("GITHUB_REPOSITORY") + "/" + env("GITHUB_RUN_ID") + "/" + env("GITHUB_RUN_ATTEMPT") + "/" + env("GITHUB_JOB") + "/" + env("RUNNER_NAME")
	id.URL = env("GITHUB_SERVER_URL") + "/" + env("GITHUB_REPOSITORY") + "/actions/runs/" + env("GITHUB_RUN_ID")
	if attempt := env("GITHUB_RUN_ATTEMPT"); attempt != "" {
		id.URL += "/attempts/" + attempt
		if attempt != "1" {
			id.Rerun = "github/" + env("GITHUB_REPOSITORY") + "/" + env("GITHUB_RUN_ID") + "/"
		}
	}
	return id
}
