// Package migrate moves data between etcd and kedge, whole folders and
// snapshot files, and compares what is served before and after.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"reflect"
	"sort"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

const (
	password = "secret"
	alarmed  = 5 // the member that the alarm names; none has this id
)

// fill writes keys of many sizes, deletes some, compacts half of it, grants
// leases, makes users and roles, and raises an alarm.
func fill(ctx context.Context, conn *grpc.ClientConn) error {
	kv, lease, auth := pb.NewKVClient(conn), pb.NewLeaseClient(conn), pb.NewAuthClient(conn)
	random := rand.New(rand.NewSource(1))
	var failed []error
	try := func(_ any, err error) {
		if err != nil {
			failed = append(failed, err)
		}
	}
	try(lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: 7, TTL: 5000}))
	try(lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: 1 << 50, TTL: 90000}))
	var middle int64
	for i := range 300 {
		value := make([]byte, random.Intn(1<<random.Intn(15)))
		random.Read(value)
		r, err := kv.Put(ctx, &pb.PutRequest{Key: fmt.Appendf(nil, "key/%d", i%100), Value: value, Lease: int64(i % 2 * 7)})
		try(r, err)
		if i == 150 && err == nil {
			middle = r.Header.Revision
		}
	}
	try(kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte("key/1"), RangeEnd: []byte("key/2")}))
	try(kv.Txn(ctx, &pb.TxnRequest{Success: []*pb.RequestOp{
		{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("left"), Value: []byte("1"), Lease: 1 << 50}}},
		{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("right")}}},
	}}))
	try(kv.Compact(ctx, &pb.CompactionRequest{Revision: middle, Physical: true}))
	try(kv.Put(ctx, &pb.PutRequest{Key: []byte("big"), Value: make([]byte, 1<<20)}))
	for _, name := range []string{"root", "reader"} {
		try(auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: name, Password: password}))
		try(auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: name}))
		try(auth.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: name, Role: name}))
	}
	try(auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "open", Options: &authpb.UserAddOptions{NoPassword: true}}))
	try(auth.RoleGrantPermission(ctx, &pb.AuthRoleGrantPermissionRequest{Name: "reader",
		Perm: &authpb.Permission{Key: []byte("k"), RangeEnd: []byte("l")}}))
	try(pb.NewMaintenanceClient(conn).Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: alarmed,
		Alarm: pb.AlarmType_NOSPACE}))
	return errors.Join(failed...)
}

// disarm takes the alarm back, so that there can be puts again.
func disarm(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := pb.NewMaintenanceClient(conn).Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: alarmed,
		Alarm: pb.AlarmType_NOSPACE})
	return err
}

// holdings is what a server holds, as texts that can be compared.
type holdings struct {
	revision int64
	parts    map[string][]string
}

// read asks for everything that is the same wherever it is served: keys with
// all their revisions' numbers, the hash of the history, leases, alarms, and
// users and roles if the server can be asked for them.
func read(ctx context.Context, conn *grpc.ClientConn, users bool) (*holdings, error) {
	all, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if err != nil {
		return nil, err
	}
	h := &holdings{revision: all.Header.Revision, parts: map[string][]string{}}
	for _, kv := range all.Kvs {
		h.add("keys", kv)
	}
	hash, err := pb.NewMaintenanceClient(conn).HashKV(ctx, &pb.HashKVRequest{Revision: h.revision})
	if err != nil {
		return nil, err
	}
	h.parts["history"] = []string{fmt.Sprint(hash.Hash, hash.CompactRevision)}
	alarms, err := pb.NewMaintenanceClient(conn).Alarm(ctx, &pb.AlarmRequest{})
	if err != nil {
		return nil, err
	}
	for _, a := range alarms.Alarms {
		h.add("alarms", a)
	}
	if err := h.readLeases(ctx, pb.NewLeaseClient(conn)); err != nil || !users {
		return h, err
	}
	return h, h.readUsers(ctx, pb.NewAuthClient(conn))
}

// add notes the message's bytes: equal messages have equal ones.
func (h *holdings) add(part string, m proto.Message) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	h.parts[part] = append(h.parts[part], string(data))
}

func (h *holdings) readLeases(ctx context.Context, lease pb.LeaseClient) error {
	list, err := lease.LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
	if err != nil {
		return err
	}
	for _, l := range list.Leases {
		t, err := lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: l.ID, Keys: true})
		if err != nil {
			return err
		}
		var keys []string
		for _, k := range t.Keys {
			keys = append(keys, string(k))
		}
		sort.Strings(keys)
		h.parts["leases"] = append(h.parts["leases"], fmt.Sprint(t.ID, t.GrantedTTL, keys))
		if t.TTL > t.GrantedTTL+10 || t.TTL < t.GrantedTTL-600 {
			return fmt.Errorf("lease %d of %d s has %d s left", t.ID, t.GrantedTTL, t.TTL)
		}
	}
	sort.Strings(h.parts["leases"])
	return nil
}

func (h *holdings) readUsers(ctx context.Context, auth pb.AuthClient) error {
	users, err := auth.UserList(ctx, &pb.AuthUserListRequest{})
	if err != nil {
		return err
	}
	for _, name := range users.Users {
		user, err := auth.UserGet(ctx, &pb.AuthUserGetRequest{Name: name})
		if err != nil {
			return err
		}
		h.parts["users"] = append(h.parts["users"], fmt.Sprint(name, user.Roles))
	}
	roles, err := auth.RoleList(ctx, &pb.AuthRoleListRequest{})
	if err != nil {
		return err
	}
	for _, name := range roles.Roles {
		if name == "root" {
			continue // what it may do is in no row: versions show it or not
		}
		role, err := auth.RoleGet(ctx, &pb.AuthRoleGetRequest{Role: name})
		if err != nil {
			return err
		}
		for _, p := range role.Perm {
			h.parts["roles"] = append(h.parts["roles"], fmt.Sprint(name, p.PermType, p.Key, p.RangeEnd))
		}
	}
	return nil
}

// same compares the parts that both have.
func (h *holdings) same(other *holdings) error {
	var failed []error
	if h.revision != other.revision {
		failed = append(failed, fmt.Errorf("revision %d, was %d", other.revision, h.revision))
	}
	for _, part := range []string{"keys", "history", "leases", "alarms", "users", "roles"} {
		before, after := h.parts[part], other.parts[part]
		if (part == "users" || part == "roles") && (before == nil || after == nil) {
			continue
		}
		if !reflect.DeepEqual(before, after) {
			failed = append(failed, fmt.Errorf("%s: %d, were %d: %s", part, len(after), len(before), firstDifference(before, after)))
		}
	}
	return errors.Join(failed...)
}

func firstDifference(before, after []string) string {
	for i := range max(len(before), len(after)) {
		var a, b string
		if i < len(before) {
			a = before[i]
		}
		if i < len(after) {
			b = after[i]
		}
		if a != b {
			return fmt.Sprintf("%.200q became %.200q", a, b)
		}
	}
	return ""
}

// passwordsWork turns authentication on, at a server that has it, and asks for
// a token with a password of before.
func passwordsWork(ctx context.Context, conn *grpc.ClientConn) error {
	auth := pb.NewAuthClient(conn)
	if _, err := auth.AuthEnable(ctx, &pb.AuthEnableRequest{}); err != nil {
		return err
	}
	_, err := auth.Authenticate(ctx, &pb.AuthenticateRequest{Name: "reader", Password: password})
	return err
}
