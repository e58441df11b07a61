package clients

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"
	"google.golang.org/protobuf/encoding/protojson"
)

func TestGoClientScenario(t *testing.T) {
	goClient(t, func(ctx context.Context, m *server, client *clientv3.Client, n notes) error {

		watchContext, stopWatch := context.WithCancel(ctx)
		defer stopWatch()
		watching := client.Watch(watchContext, "", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
		if created := <-watching; !created.Created {
			return fmt.Errorf("expected a watch, got %+v", created)
		}

		put := func(key, value string, options ...clientv3.OpOption) {
			response, err := client.Put(ctx, key, value, options...)
			n.answer("put "+key, (*pb.PutResponse)(response), err)
		}
		get := func(key string, options ...clientv3.OpOption) {
			response, err := client.Get(ctx, key, options...)
			n.answer("get "+key, (*pb.RangeResponse)(response), err)
		}
		put("a", "1")
		put("a", "2", clientv3.WithPrevKV())
		put("b", "")
		put("c", "3", clientv3.WithLease(12345))
		put("d", "", clientv3.WithIgnoreValue())
		put("a", "", clientv3.WithIgnoreValue())
		get("a")
		get("a", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend))
		get("", clientv3.WithPrefix(), clientv3.WithLimit(1))
		get("a", clientv3.WithFromKey(), clientv3.WithCountOnly())
		get("a", clientv3.WithRange("z"), clientv3.WithKeysOnly(), clientv3.WithSerializable())
		get("a", clientv3.WithRev(2))
		get("a", clientv3.WithRev(99))
		get("", clientv3.WithLastRev()...)
		get("", clientv3.WithFirstCreate()...)

		deleted, err := client.Delete(ctx, "b", clientv3.WithPrevKV())
		n.answer("delete b", (*pb.DeleteRangeResponse)(deleted), err)
		deleted, err = client.Delete(ctx, "zz", clientv3.WithPrefix())
		n.answer("delete zz", (*pb.DeleteRangeResponse)(deleted), err)

		txn, err := client.Txn(ctx).If(clientv3.Compare(clientv3.Value("a"), "=", "2"), clientv3.Compare(clientv3.CreateRevision("new"), "=", 0)).
			Then(clientv3.OpPut("new", "x"), clientv3.OpTxn(
				[]clientv3.Cmp{clientv3.Compare(clientv3.Version("a"), ">", 100)},
				[]clientv3.Op{clientv3.OpPut("never", "")},
				[]clientv3.Op{clientv3.OpGet("new"), clientv3.OpDelete("a", clientv3.WithPrevKV()), clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("deep", "y")}, nil)}),
				clientv3.OpGet("", clientv3.WithPrefix())).
			Else(clientv3.OpGet("a")).Commit()
		n.answer("nested txn", (*pb.TxnResponse)(txn), err)
		txn, err = client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision("a").WithPrefix(), ">", 0)).Else(clientv3.OpGet("deep")).Commit()
		n.answer("read-only txn", (*pb.TxnResponse)(txn), err)
		_, err = client.Txn(ctx).Then(clientv3.OpPut("x", "1"), clientv3.OpPut("x", "2")).Commit()
		n.answer("duplicate keys", nil, err)
		n.add("is ErrDuplicateKey: %v", errors.Is(err, rpctypes.ErrDuplicateKey))

		// Leases. The id is the client's, so that it is equal on both.
		granted, err := client.Grant(ctx, 1000)
		if err != nil {
			return err
		}
		n.add("> grant\nttl %d", granted.TTL)
		if _, err := client.Put(ctx, "leased", "v", clientv3.WithLease(granted.ID)); err != nil {
			return err
		}
		alive, err := client.KeepAliveOnce(ctx, granted.ID)
		if err != nil {
			return err
		}
		n.add("> keep alive once\nttl %d", alive.TTL)
		keepContext, stopKeeping := context.WithCancel(ctx)
		defer stopKeeping()
		keeping, err := client.KeepAlive(keepContext, granted.ID)
		if err != nil {
			return err
		}
		if response := <-keeping; response == nil || response.TTL != 1000 {
			return fmt.Errorf("keep alive: %v", response)
		}
		stopKeeping()
		left, err := client.TimeToLive(ctx, granted.ID, clientv3.WithAttachedKeys())
		if err != nil {
			return err
		}
		n.add("> time to live\ngranted %d, keys %q, about 1000 left: %v", left.GrantedTTL, left.Keys, left.TTL > 900 && left.TTL <= 1000)
		leases, err := client.Leases(ctx)
		if err != nil {
			return err
		}
		n.add("> leases\n%d", len(leases.Leases))
		revoked, err := client.Revoke(ctx, granted.ID)
		n.answer("revoke", (*pb.LeaseRevokeResponse)(revoked), err)
		_, err = client.Revoke(ctx, granted.ID)
		n.answer("revoke again", nil, err)
		n.add("is ErrLeaseNotFound: %v", errors.Is(err, rpctypes.ErrLeaseNotFound))
		short, err := client.Grant(ctx, 1)
		if err != nil {
			return err
		}
		n.add("> grant one second\nttl %d", short.TTL)
		if _, err := client.Put(ctx, "fleeting", "v", clientv3.WithLease(short.ID)); err != nil {
			return err
		}

		// Everything so far, and the end of the short lease, as events.
		n.add("> events")
		for gone := false; !gone; {
			response, ok := <-watching
			if !ok || response.Err() != nil {
				return fmt.Errorf("watch ended: %w", response.Err())
			}
			for _, event := range response.Events {
				if event.Kv.Lease != 0 {
					event.Kv.Lease = 1 // made by the server
				}
				if event.PrevKv != nil && event.PrevKv.Lease != 0 {
					event.PrevKv.Lease = 1
				}
				n.add("%v", strings.ReplaceAll(protojson.Format((*mvccpb.Event)(event)), " ", ""))
				gone = event.Type == clientv3.EventTypeDelete && string(event.Kv.Key) == "fleeting"
			}
		}
		if err := client.RequestProgress(watchContext); err != nil {
			return err
		}
		progress := <-watching
		n.add("> progress\n%v at %d", progress.IsProgressNotify(), progress.Header.Revision)
		stopWatch()

		old := client.Watch(ctx, "a", clientv3.WithPrefix(), clientv3.WithRev(2), clientv3.WithFilterDelete(), clientv3.WithFragment())
		response := <-old
		n.add("> watch from revision 2\n%d events up to %d", len(response.Events), response.Events[len(response.Events)-1].Kv.ModRevision)

		compacted, err := client.Compact(ctx, 6, clientv3.WithCompactPhysical())
		n.answer("compact", (*pb.CompactionResponse)(compacted), err)
		_, err = client.Compact(ctx, 6)
		n.answer("compact again", nil, err)
		n.add("is ErrCompacted: %v", errors.Is(err, rpctypes.ErrCompacted))
		get("a", clientv3.WithRev(3))
		dead := <-client.Watch(ctx, "a", clientv3.WithRev(3))
		n.add("> watch below the compaction\ncompact revision %d, %v", dead.CompactRevision, dead.Err())

		status, err := client.Status(ctx, m.Endpoint)
		if err != nil {
			return err
		}
		n.add("> status\n%s learner=%v leader=%x errors=%v storage=%s quota=%d", status.Version, status.IsLearner, status.Leader, status.Errors, status.StorageVersion, status.DbSizeQuota)
		hash, err := client.HashKV(ctx, m.Endpoint, 0)
		if err == nil {
			hash.Hash = 0 // covers lease ids that the servers made
		}
		n.answer("hashkv", (*pb.HashKVResponse)(hash), err)
		if m.members == nil {
			members, err := client.MemberList(ctx)
			n.answer("member list", (*pb.MemberListResponse)(members), err)
		}
		alarms, err := client.AlarmList(ctx)
		n.answer("alarm list", (*pb.AlarmResponse)(alarms), err)
		_, err = client.Defragment(ctx, m.Endpoint)
		n.add("> defragment\n%v", err)
		return client.Sync(ctx)
	})
}

// TestGoClientRecipes runs what applications build on: sessions, locks,
// elections, software transactions, mirrors, namespaces, leased caches.
func TestGoClientRecipes(t *testing.T) {
	goClient(t, func(ctx context.Context, m *server, client *clientv3.Client, n notes) error {

		// Ten workers add to one counter under a lock, each under a session.
		var group sync.WaitGroup
		failures := make(chan error, 10)
		counter, highest := 0, 0
		for range 10 {
			group.Go(func() {
				session, err := concurrency.NewSession(client, concurrency.WithTTL(60))
				if err != nil {
					failures <- err
					return
				}
				defer session.Close()
				mutex := concurrency.NewMutex(session, "lock")
				if err := mutex.Lock(ctx); err != nil {
					failures <- err
					return
				}
				counter++
				highest = max(highest, counter)
				time.Sleep(time.Millisecond)
				failures <- mutex.Unlock(ctx)
			})
		}
		group.Wait()
		for range 10 {
			if err := <-failures; err != nil {
				return fmt.Errorf("lock: %w", err)
			}
		}
		n.add("> lock\n%d turns", highest)

		one, err := concurrency.NewSession(client, concurrency.WithTTL(60))
		if err != nil {
			return err
		}
		election := concurrency.NewElection(one, "election")
		if err := election.Campaign(ctx, "first"); err != nil {
			return err
		}
		observed := election.Observe(ctx)
		leader := <-observed
		n.add("> election\nleader %s", leader.Kvs[0].Value)
		two, err := concurrency.NewSession(client, concurrency.WithTTL(60))
		if err != nil {
			return err
		}
		defer two.Close()
		won := make(chan error, 1)
		go func() { won <- concurrency.NewElection(two, "election").Campaign(ctx, "second") }()
		time.Sleep(50 * time.Millisecond)
		// The first leader's session ends, and with it its key.
		if err := one.Close(); err != nil {
			return err
		}
		if err := <-won; err != nil {
			return err
		}
		for string(leader.Kvs[0].Value) != "second" {
			var ok bool
			if leader, ok = <-observed; !ok {
				return errors.New("the observer ended")
			}
		}
		n.add("> next leader\n%s", leader.Kvs[0].Value)

		// Transfers between accounts keep the sum.
		for _, account := range []string{"account/a", "account/b", "account/c"} {
			if _, err := client.Put(ctx, account, "100"); err != nil {
				return err
			}
		}
		for worker := range 3 {
			group.Go(func() {
				for i := range 20 {
					from, to := "account/"+string("abc"[worker]), "account/"+string("abc"[(worker+1+i%2)%3])
					_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
						var x, y int
						fmt.Sscan(stm.Get(from), &x)
						fmt.Sscan(stm.Get(to), &y)
						stm.Put(from, fmt.Sprint(x-i))
						stm.Put(to, fmt.Sprint(y+i))
						return nil
					}, concurrency.WithAbortContext(ctx))
					if err != nil {
						failures <- err
						return
					}
				}
				failures <- nil
			})
		}
		group.Wait()
		for range 3 {
			if err := <-failures; err != nil {
				return fmt.Errorf("transfer: %w", err)
			}
		}
		accounts, err := client.Get(ctx, "account/", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		total := 0
		for _, kv := range accounts.Kvs {
			var x int
			fmt.Sscan(string(kv.Value), &x)
			total += x
		}
		n.add("> transfers\nsum %d", total)

		// A mirror sees what is there and what comes.
		syncer := mirror.NewSyncer(client, "account/", 0)
		base, mirrorErrors := syncer.SyncBase(ctx)
		mirrored := 0
		for response := range base {
			mirrored += len(response.Kvs)
		}
		if err := <-mirrorErrors; err != nil {
			return err
		}
		updates := syncer.SyncUpdates(ctx)
		if _, err := client.Put(ctx, "account/d", "1"); err != nil {
			return err
		}
		update := <-updates
		n.add("> mirror\n%d keys, then %s", mirrored, update.Events[0].Kv.Key)

		spaced := namespace.NewKV(client.KV, "space/")
		if _, err := spaced.Put(ctx, "k", "v"); err != nil {
			return err
		}
		inside, err := spaced.Get(ctx, "", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		n.add("> namespace\n%d %s", inside.Count, inside.Kvs[0].Key)

		leased, closeLeased, err := leasing.NewKV(client, "leasing/")
		if err != nil {
			return err
		}
		defer closeLeased()
		for range 3 {
			got, err := leased.Get(ctx, "account/d")
			if err != nil {
				return err
			}
			n.add("> leased read\n%s", got.Kvs[0].Value)
			if _, err := leased.Put(ctx, "account/d", string(got.Kvs[0].Value)+"1"); err != nil {
				return err
			}
		}
		ordered := ordering.NewKV(client.KV, func(clientv3.Op, clientv3.OpResponse, int64) error {
			return errors.New("an answer older than one before")
		})
		for range 5 {
			if _, err := ordered.Get(ctx, "account/d", clientv3.WithSerializable()); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}

// TestManyWatchersAndBigValues drives what a small scenario doesn't: many
// watchers on one stream, values near the limit, deadlines and cancelled calls.
func TestManyWatchersAndBigValues(t *testing.T) {
	goClient(t, func(ctx context.Context, m *server, client *clientv3.Client, n notes) error {
		const watchers, events = 200, 20
		var group sync.WaitGroup
		totals := make([]int, watchers)
		ready := sync.WaitGroup{}
		ready.Add(watchers)
		for i := range watchers {
			group.Go(func() {
				watchContext, stop := context.WithCancel(ctx)
				defer stop()
				channel := client.Watch(watchContext, fmt.Sprintf("many/%d", i%10), clientv3.WithCreatedNotify())
				<-channel
				ready.Done()
				for totals[i] < events {
					response, ok := <-channel
					if !ok {
						return
					}
					totals[i] += len(response.Events)
				}
			})
		}
		ready.Wait()
		for range events {
			for k := range 10 {
				if _, err := client.Put(ctx, fmt.Sprintf("many/%d", k), "v"); err != nil {
					return err
				}
			}
		}
		group.Wait()
		sum := 0
		for _, total := range totals {
			sum += total
		}
		n.add("> many watchers\n%d events", sum)

		big := strings.Repeat("v", 1500000)
		for i := range 8 {
			if _, err := client.Put(ctx, fmt.Sprintf("big/%d", i), big); err != nil {
				return err
			}
		}
		all, err := client.Get(ctx, "big/", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		size := 0
		for _, kv := range all.Kvs {
			size += len(kv.Value)
		}
		n.add("> big values\n%d pairs, %d bytes", len(all.Kvs), size)
		_, err = client.Put(ctx, "big/9", strings.Repeat("v", 1<<21-100))
		n.add("> too big for raft\n%v", err)

		expired, cancel := context.WithTimeout(ctx, time.Nanosecond)
		_, err = client.Get(expired, "a")
		cancel()
		n.add("> deadline\n%v", err)
		for range 50 {
			calling, cancel := context.WithCancel(ctx)
			done := make(chan struct{})
			go func() {
				_, _ = client.Get(calling, "big/", clientv3.WithPrefix())
				close(done)
			}()
			time.Sleep(time.Millisecond)
			cancel()
			<-done
		}
		after, err := client.Get(ctx, "big/1", clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		n.add("> after cancelled calls\n%s", after.Kvs[0].Key)
		return nil
	})
}
