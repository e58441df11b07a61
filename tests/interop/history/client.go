package history

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"kedge/tests/interop/cluster"
)

// NewClient is the official Go client, told all members now and later.
func NewClient(c *cluster.Cluster) (*clientv3.Client, error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints(c.Nodes()), DialTimeout: 5 * time.Second,
		DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: 2 * time.Second, Logger: zap.NewNop()})
	if err == nil {
		c.OnChange(func(nodes []*cluster.Node) { client.SetEndpoints(endpoints(nodes)...) })
	}
	return client, err
}
