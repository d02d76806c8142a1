package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// maxName is the longest name of a Kubernetes Service and of a label value (RFC 1123 label).
const maxName = 63

// GrayName is the name of gray's counterpart of an object: NAME-gray; past 63 characters cut and given a hash,
// so that two long names never meet.
func GrayName(name string) string { return suffixed(name, "-gray") }

// WatchdogName is the name of the watchdog's Job: DEPLOYMENT-watchdog, cut like GrayName.
func WatchdogName(deployment string) string { return suffixed(deployment, "-watchdog") }

// TestJobName is the name of the Job of an offline test: DEPLOYMENT-offline-test, cut like GrayName.
func TestJobName(deployment string) string { return suffixed(deployment, "-offline-test") }

func suffixed(name, suffix string) string {
	if len(name)+len(suffix) <= maxName {
		return name + suffix
	}
	sum := sha256.Sum256([]byte(name))
	hash := "-" + hex.EncodeToString(sum[:4])
	return strings.TrimRight(name[:maxName-len(suffix)-len(hash)], "-.") + hash + suffix
}

// Names of what gray-upgrade writes on objects. The fence's key holds the Service's name, because two services
// may share a route.
const (
	Domain             = "gray-upgrade.dev"
	AnnotationUndo     = Domain + "/undo"
	AnnotationPromoted = Domain + "/promoted"
	AnnotationMinimum  = Domain + "/min-replicas" // on a pinned HPA: the user's minReplicas, and what it was raised to
	LabelSide          = Domain + "/side"
	LabelService       = Domain + "/service"
	LabelWatchdog      = Domain + "/watchdog" // on the watchdog's pods: the Service; they carry no other label of ours
	ConditionVerified  = Domain + "/verified" // readiness gate of gray pods
	SideHeader         = "X-Gray-Upgrade-Side"
	fencePrefix        = "fence." + Domain + "/"
)

// OtherFence names the service, other than this one, whose upgrade has its fence among the annotations of an object; "":
// none has.
func OtherFence(annotations map[string]string, service string) string {
	for key := range annotations {
		if other, ok := strings.CutPrefix(key, fencePrefix); ok && other != service {
			return other
		}
	}
	return ""
}

// FenceKey is the annotation that carries the fence of the upgrade of a service.
func FenceKey(service string) string { return fencePrefix + service }
