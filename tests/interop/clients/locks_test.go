package clients

import (
	"context"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	election "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lock "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
)

func TestLockService(t *testing.T) {
	goClient(t, func(ctx context.Context, m *server, client *clientv3.Client, n notes) error {
		locks := lock.NewLockClient(client.ActiveConnection())
		if err := leases(ctx, client, 0x1001, 0x1002, 0x1003); err != nil {
			return err
		}
		one := func(step string, lease int64) {
			r, err := locks.Lock(ctx, &lock.LockRequest{Name: []byte("l"), Lease: lease})
			n.plain(step, r, err)
		}
		unlock := func(step, key string) {
			r, err := locks.Unlock(ctx, &lock.UnlockRequest{Key: []byte(key)})
			n.plain(step, r, err)
		}
		one("the first gets it", 0x1001)
		one("again", 0x1001)
		one("a lease that is not there", 0x999)
		unlock("no key", "")

		// Two wait; one of them for a short time.
		type answer struct {
			r   *lock.LockResponse
			err error
		}
		second := make(chan answer, 1)
		go func() {
			r, err := locks.Lock(ctx, &lock.LockRequest{Name: []byte("l"), Lease: 0x1002})
			second <- answer{r, err}
		}()
		if err := keys(ctx, client, "l/", 2); err != nil {
			return err
		}
		short, stop := context.WithCancel(ctx)
		defer stop()
		third := make(chan answer, 1)
		go func() {
			r, err := locks.Lock(short, &lock.LockRequest{Name: []byte("l"), Lease: 0x1003})
			third <- answer{r, err}
		}()
		if err := keys(ctx, client, "l/", 3); err != nil {
			return err
		}
		stop()
		a := <-third
		n.plain("the third gives up", a.r, a.err)
		if err := keys(ctx, client, "l/", 2); err != nil { // it leaves no key behind
			return err
		}
		unlock("the first unlocks", "l/1001")
		a = <-second
		n.plain("the second has it", a.r, a.err)

		// Who waits, and whose lease goes meanwhile.
		go func() {
			r, err := locks.Lock(ctx, &lock.LockRequest{Name: []byte("l"), Lease: 0x1003})
			third <- answer{r, err}
		}()
		if err := keys(ctx, client, "l/", 2); err != nil {
			return err
		}
		if _, err := client.Revoke(ctx, 0x1003); err != nil {
			return err
		}
		unlock("the second unlocks", "l/1002")
		a = <-third
		n.plain("the third's lease is gone", a.r, a.err)

		// Without a lease the server makes one.
		r, err := locks.Lock(ctx, &lock.LockRequest{Name: []byte("own")})
		if err != nil {
			return err
		}
		got, err := client.Get(ctx, string(r.Key))
		if err != nil {
			return err
		}
		left, err := client.TimeToLive(ctx, clientv3.LeaseID(got.Kvs[0].Lease))
		if err != nil {
			return err
		}
		n.add("> no lease\n%v of %d s, key of the lease: %v", left.TTL > 50, left.GrantedTTL,
			string(r.Key) == fmt.Sprintf("own/%x", got.Kvs[0].Lease))

		// Many: each holds it alone, in the order in which their keys were put.
		counter, done := 0, make(chan error, 20)
		for i := range 20 {
			if err := leases(ctx, client, int64(0x2000+i)); err != nil {
				return err
			}
			go func() {
				r, err := locks.Lock(ctx, &lock.LockRequest{Name: []byte("many"), Lease: int64(0x2000 + i)})
				if err == nil {
					counter++
					_, err = locks.Unlock(ctx, &lock.UnlockRequest{Key: r.Key})
				}
				done <- err
			}()
		}
		for range 20 {
			if err := <-done; err != nil {
				return err
			}
		}
		n.add("> many\n%d", counter)
		return ctx.Err()
	})
}

func TestElectionService(t *testing.T) {
	goClient(t, func(ctx context.Context, m *server, client *clientv3.Client, n notes) error {
		elections := election.NewElectionClient(client.ActiveConnection())
		if err := leases(ctx, client, 0x1001, 0x1002); err != nil {
			return err
		}
		name := []byte("e")
		leader := func(step string) {
			r, err := elections.Leader(ctx, &election.LeaderRequest{Name: name})
			n.plain(step, r, err)
		}
		proclaim := func(step string, key *election.LeaderKey, value string) {
			r, err := elections.Proclaim(ctx, &election.ProclaimRequest{Leader: key, Value: []byte(value)})
			n.plain(step, r, err)
		}
		resign := func(step string, key *election.LeaderKey) {
			r, err := elections.Resign(ctx, &election.ResignRequest{Leader: key})
			n.plain(step, r, err)
		}
		leader("nobody")
		proclaim("without a key", nil, "x")
		resign("without a key", nil)
		observer, err := elections.Observe(ctx, &election.LeaderRequest{Name: name})
		if err != nil {
			return err
		}
		observed := func(step string) {
			r, err := observer.Recv()
			n.plain("observed: "+step, r, err)
		}
		first, err := elections.Campaign(ctx, &election.CampaignRequest{Name: name, Lease: 0x1001, Value: []byte("one")})
		n.plain("the first is elected", first, err)
		if err != nil {
			return err
		}
		observed("the first")
		leader("the first")
		proclaim("another value", first.Leader, "uno")
		observed("another value")
		again, err := elections.Campaign(ctx, &election.CampaignRequest{Name: name, Lease: 0x1001, Value: []byte("eins")})
		n.plain("the same session with a third value", again, err)
		observed("a third value")
		r, err := elections.Campaign(ctx, &election.CampaignRequest{Name: name, Lease: 0x999, Value: []byte("x")})
		n.plain("a lease that is not there", r, err)

		won := make(chan error, 1)
		var second *election.CampaignResponse
		go func() {
			var err error
			second, err = elections.Campaign(ctx, &election.CampaignRequest{Name: name, Lease: 0x1002, Value: []byte("two")})
			won <- err
		}()
		if err := keys(ctx, client, "e/", 2); err != nil {
			return err
		}
		leader("still the first")
		resign("the first resigns", first.Leader)
		n.plain("the second is elected", second, <-won)
		observed("the second")
		proclaim("who leads no more", first.Leader, "x")
		resign("who leads no more", first.Leader)
		leader("the second")
		resign("the second resigns", second.Leader)
		leader("nobody")

		short, stop := context.WithCancel(ctx)
		defer stop()
		if _, err := client.Put(ctx, "e/0", "in the way"); err != nil {
			return err
		}
		go func() {
			_, err := elections.Campaign(short, &election.CampaignRequest{Name: name, Lease: 0x1002, Value: []byte("two")})
			won <- err
		}()
		if err := keys(ctx, client, "e/", 2); err != nil {
			return err
		}
		stop()
		n.add("> a campaign is given up\n%v", <-won)
		return keys(ctx, client, "e/", 1)
	})
}

func TestDowngrade(t *testing.T) {
	goClient(t, func(ctx context.Context, m *server, client *clientv3.Client, n notes) error {
		maintenance := pb.NewMaintenanceClient(client.ActiveConnection())
		ask := func(action pb.DowngradeRequest_DowngradeAction, version string) (*pb.DowngradeResponse, error) {
			return maintenance.Downgrade(ctx, &pb.DowngradeRequest{Action: action, Version: version})
		}
		for _, version := range []string{"3.6", "3.6.0", "3.6.99", "03.06.00", "3.6.0-rc.1", "3.6.0+a.b-c", "3.6.0-rc_1", "3.6-rc", "3.7",
			"3.5", "4.6", "2.6", "3", "", ".", "3.", "3.6.", "3.6.0.0", "v3.6", " 3.6", "3.6.0 ", "-3.6", "3.6.99999999999999999999", "a.b.c",
			"3.x", "3.6.0-", "3.6.0+"} {
			r, err := ask(pb.DowngradeRequest_VALIDATE, version)
			n.plain(fmt.Sprintf("validate %q", version), r, err)
		}
		r, err := ask(pb.DowngradeRequest_CANCEL, "")
		n.plain("cancel without one", r, err)
		r, err = ask(7, "3.6")
		n.plain("an action that is none", r, err)
		_, err = ask(pb.DowngradeRequest_ENABLE, "3.5")
		n.add("> enable 3.5\n%v", err)
		// The cluster's version follows some time later: what depends on it is not asked for.
		_, err = ask(pb.DowngradeRequest_ENABLE, "3.6")
		n.add("> enable 3.6\n%v", err)
		status, err := client.Status(ctx, m.Endpoint)
		if err != nil {
			return err
		}
		n.add("> status\n%v", status.DowngradeInfo)
		_, err = ask(pb.DowngradeRequest_CANCEL, "")
		n.add("> cancel\n%v", err)
		status, err = client.Status(ctx, m.Endpoint)
		if err != nil {
			return err
		}
		n.add("> status\n%v", status.DowngradeInfo)
		return ctx.Err()
	})
}
