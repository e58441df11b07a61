package clients

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"kedge/tests/interop/cluster"
	"kedge/tests/interop/member"
)

// TestUsersAndRolesAreKept has an etcd that leads two others, one of them the
// server under test, make users and roles: all must have the same hash over all
// of their buckets, members and versions included. Once authentication is on,
// the server under test, which cannot enforce it yet, must end and say so.
func TestUsersAndRolesAreKept(t *testing.T) {
	own, etcd := program(t, *serverFlag), program(t, *referenceFlag)
	ctx, cancel := context.WithTimeout(context.Background(), scenarioLimit)
	defer cancel()
	c, err := cluster.New(ctx, cluster.Options{Parent: t.TempDir(), Programs: []string{own, etcd, etcd}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	kedge, leader := c.Nodes()[0], c.Nodes()[1]
	if err := lead(ctx, c, leader); err != nil {
		t.Fatal(err)
	}
	if err := makeUsers(ctx, pb.NewAuthClient(leader.Conn())); err != nil {
		t.Fatal(err)
	}
	if err := sameBuckets(ctx, c); err != nil {
		t.Fatal(err)
	}
	kedge.Kill()
	if err := kedge.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if err := sameBuckets(ctx, c); err != nil {
		t.Fatalf("after a restart: %v", err)
	}
	if _, err := pb.NewAuthClient(leader.Conn()).AuthEnable(ctx, &pb.AuthEnableRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"in the log", "at its start"} {
		if err := kedge.WaitEnd(10 * time.Second); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		log, err := os.ReadFile(kedge.Log())
		if err != nil || !strings.Contains(string(log), "authentication is enabled in this cluster") {
			t.Fatalf("%s: %v\n%s", when, err, member.LastWords(kedge.Log()))
		}
		kedge.Kill()
		if err := os.Truncate(kedge.Log(), 0); err != nil {
			t.Fatal(err)
		}
		if err := kedge.Start(); err != nil {
			t.Fatal(err)
		}
	}
}

// lead moves leadership to the node.
func lead(ctx context.Context, c *cluster.Cluster, to *cluster.Node) error {
	now, _, err := c.Leader(ctx)
	if err != nil || now == to {
		return err
	}
	_, err = pb.NewMaintenanceClient(now.Conn()).MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: to.ID()})
	return err
}

// makeUsers changes users and roles in all ways there are; names are longer
// than LMDB's keys may be, too, and alike in what is left of them.
func makeUsers(ctx context.Context, a pb.AuthClient) error {
	long := strings.Repeat("n", 500)
	names := []string{"a", "root", long, long + "-tail-b", long + "-tail-a", strings.Repeat("x", 30000)}
	var failed []error
	try := func(_ any, err error) {
		if err != nil {
			failed = append(failed, err)
		}
	}
	for _, name := range names {
		try(a.UserAdd(ctx, &pb.AuthUserAddRequest{Name: name, Password: "secret"}))
		try(a.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: name}))
		try(a.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: name, Role: name}))
		try(a.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "a", Role: name}))
	}
	try(a.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "open", Options: &authpb.UserAddOptions{NoPassword: true}}))
	for _, p := range []*authpb.Permission{
		{Key: []byte("k")},
		{Key: []byte("k"), RangeEnd: []byte("z"), PermType: authpb.WRITE},
		{Key: []byte("b"), RangeEnd: []byte("c"), PermType: authpb.READWRITE},
		{Key: []byte("b"), RangeEnd: []byte("a")}, // refused
		{Key: []byte("k"), PermType: authpb.READWRITE},
		{Key: []byte("q"), RangeEnd: []byte{0}},
	} {
		_, err := a.RoleGrantPermission(ctx, &pb.AuthRoleGrantPermissionRequest{Name: "a", Perm: p})
		if err != nil && string(p.RangeEnd) != "a" {
			failed = append(failed, err)
		}
	}
	try(a.RoleRevokePermission(ctx, &pb.AuthRoleRevokePermissionRequest{Role: "a", Key: []byte("b"), RangeEnd: []byte("c")}))
	try(a.UserChangePassword(ctx, &pb.AuthUserChangePasswordRequest{Name: "a", Password: "other"}))
	try(a.UserRevokeRole(ctx, &pb.AuthUserRevokeRoleRequest{Name: "a", Role: "a"}))
	try(a.RoleDelete(ctx, &pb.AuthRoleDeleteRequest{Role: names[3]}))
	try(a.UserDelete(ctx, &pb.AuthUserDeleteRequest{Name: names[4]}))
	return errors.Join(failed...)
}

// sameBuckets waits until all members have the same hash over all buckets.
func sameBuckets(ctx context.Context, c *cluster.Cluster) error {
	var last error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		last = nil
		var first uint32
		for i, n := range c.Nodes() {
			answer, err := pb.NewMaintenanceClient(n.Conn()).Hash(ctx, &pb.HashRequest{})
			if err != nil {
				last = err
			} else if i == 0 {
				first = answer.Hash
			} else if answer.Hash != first {
				last = fmt.Errorf("hash of %s is %d, of %s %d", c.Nodes()[0], first, n, answer.Hash)
			}
		}
		if last == nil {
			return nil
		}
	}
	return last
}
