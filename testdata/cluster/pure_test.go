package main

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

func TestParseHierarchy(t *testing.T) {
	for line, want := range map[string]hierarchy{
		"33 32 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu": {path: "/sys/fs/cgroup/cpu"},
		"24 20 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate":       {path: "/sys/fs/cgroup", unified: true},
		"25 20 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755":                    {},
		"26 20 0:24 / /mnt rw - ext4 /dev/vda rw":                                     {},
		"cut off": {},
	} {
		got, ok := parseHierarchy(line)
		if got != want || ok != (want.path != "") {
			t.Errorf("parseHierarchy(%q) = %v, %v", line, got, ok)
		}
	}
}

func TestRecipeHash(t *testing.T) {
	root := t.TempDir()
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, "a"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	hash := func(command, version string) string {
		t.Helper()
		h, err := recipeHash(root, []string{"a"}, []string{command}, version)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	write("one")
	first := hash("build", "go1")
	if hash("build", "go1") != first {
		t.Error("the same recipe has two hashes")
	}
	if hash("build", "go2") == first || hash("make", "go1") == first {
		t.Error("the Go version and the command must count")
	}
	write("two")
	if hash("build", "go1") == first {
		t.Error("a file's content must count")
	}
}

func TestShellCode(t *testing.T) {
	for status, want := range map[syscall.WaitStatus]int{0: 0, 7 << 8: 7, 9: 137, 2: 130} {
		if got := shellCode(status); got != want {
			t.Errorf("shellCode(%#x) = %d, want %d", status, got, want)
		}
	}
}

func TestAnswer(t *testing.T) {
	store := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	for name, address := range map[string]string{"cart": "198.19.0.7", "headless": corev1.ClusterIPNone} {
		err := store.Add(&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec:       corev1.ServiceSpec{ClusterIP: address},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		code dnsmessage.RCode
		want string
	}{
		{"cart.shop.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "198.19.0.7"},
		{"Cart.shop.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "198.19.0.7"},
		{"cart.shop.svc.cluster.local.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, ""},
		{"headless.shop.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, ""},
		{"cart.other.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"example.org.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
	} {
		query := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: 5},
			Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(c.name), Type: c.kind, Class: dnsmessage.ClassINET}},
		}
		packed, err := query.Pack()
		if err != nil {
			t.Fatal(err)
		}
		packed, err = answer(packed, listers.NewServiceLister(store))
		if err != nil {
			t.Fatal(err)
		}
		var reply dnsmessage.Message
		if err := reply.Unpack(packed); err != nil {
			t.Fatal(err)
		}
		got := ""
		if len(reply.Answers) == 1 {
			a := reply.Answers[0].Body.(*dnsmessage.AResource).A
			got = net.IP(a[:]).String()
		}
		if reply.ID != 5 || reply.RCode != c.code || got != c.want {
			t.Errorf("%s %v: %v %q, want %v %q", c.name, c.kind, reply.RCode, got, c.code, c.want)
		}
	}
}
