package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
)

// clusterSuffix ends every name that the DNS server knows.
const clusterSuffix = ".svc.cluster.local."

// startDNS answers SERVICE.NAMESPACE.svc.cluster.local at the node's address, over UDP, for as long as this process
// lives. Everything else does not exist: there is no network to ask. Headless Services have no address here.
func startDNS(ctx context.Context, kube kubernetes.Interface) error {
	conn, err := net.ListenPacket("udp", nodeIP+":53")
	if err != nil {
		return fmt.Errorf("DNS: %w", err)
	}
	factory := informers.NewSharedInformerFactory(kube, 0)
	services := factory.Core().V1().Services()
	informer, lister := services.Informer(), services.Lister()
	forever := make(chan struct{})
	factory.Start(forever)
	for !informer.HasSynced() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("DNS: list Services: %w", ctx.Err())
		case <-time.After(poll):
		}
	}
	go func() {
		query := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if reply, err := answer(query[:n], lister); err == nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return nil
}

// answer makes the reply to a query of one question.
func answer(query []byte, services listers.ServiceLister) ([]byte, error) {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	question, err := p.Question()
	if err != nil {
		return nil, err
	}
	address, known := lookup(question.Name.String(), services)
	reply := dnsmessage.Header{ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true}
	if !known {
		reply.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, reply)
	b.EnableCompression()
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(question); err != nil {
		return nil, err
	}
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	if address != nil && question.Type == dnsmessage.TypeA {
		err := b.AResource(dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 5},
			dnsmessage.AResource{A: [4]byte(address)})
		if err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

// lookup returns a Service's address, and whether the name exists.
func lookup(name string, services listers.ServiceLister) (address net.IP, known bool) {
	short, ok := strings.CutSuffix(strings.ToLower(name), clusterSuffix)
	if !ok {
		return nil, false
	}
	service, namespace, ok := strings.Cut(short, ".")
	if !ok {
		return nil, false
	}
	s, err := services.Services(namespace).Get(service)
	if err != nil {
		return nil, false
	}
	if s.Spec.ClusterIP == corev1.ClusterIPNone {
		return nil, true
	}
	return net.ParseIP(s.Spec.ClusterIP).To4(), true
}
