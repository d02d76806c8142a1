package main

import (
	"net/url"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap/zapcore"
)

// etcdCommand serves one etcd member over plain HTTP until it is killed.
//
// Nothing is synced to disk: the cluster never outlives its processes, so there is nothing to recover.
func etcdCommand() *cobra.Command {
	var dir, client, peer string
	cmd := &cobra.Command{
		Use:           "etcd",
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(*cobra.Command, []string) error {
			clientURL, err := url.Parse(client)
			if err != nil {
				return err
			}
			peerURL, err := url.Parse(peer)
			if err != nil {
				return err
			}
			cfg := embed.NewConfig()
			cfg.Dir = dir
			cfg.UnsafeNoFsync = true
			cfg.LogLevel = zapcore.WarnLevel.String()
			cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
			cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
			cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
			server, err := embed.StartEtcd(cfg)
			if err != nil {
				return err
			}
			return <-server.Err()
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "", "folder of the data")
	cmd.Flags().StringVar(&client, "client-url", "http://127.0.0.1:2379", "where clients connect")
	cmd.Flags().StringVar(&peer, "peer-url", "http://127.0.0.1:2380", "where members would connect")
	return cmd
}
