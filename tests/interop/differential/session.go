package main

import (
	"bytes"
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// A difference is told as a session that anybody can type: etcdctl where it
// can express the request, a comment with the exact request where it can't.

// quote renders bytes for bash. What repeats a pair of bytes for long, as big
// values and long keys here do, is written as a loop.
func quote(data []byte) string {
	const long = 24
	var parts []string
	start := 0
	literal := func(end int) {
		if end > start {
			parts = append(parts, "printf %b '"+unquoted(data[start:end])+"'")
		}
	}
	for i := 0; i+1 < len(data); {
		j := i + 2
		for j < len(data) && data[j] == data[j-2] {
			j++
		}
		if j-i <= long {
			i++
			continue
		}
		literal(i)
		n := (j - i) / 2
		parts = append(parts, fmt.Sprintf("printf '%s%%.0s' $(seq %d)", unquoted(data[i:i+2]), n))
		i += 2 * n
		start = i
	}
	if len(parts) > 0 {
		literal(len(data))
		return `"$(` + strings.Join(parts, "; ") + `)"`
	}
	plain := len(data) > 0
	for _, c := range data {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,:@", rune(c)) {
			plain = false
		}
	}
	if plain {
		return string(data)
	}
	return "$'" + escape(data) + "'"
}

// unquoted is escape for printf's formats inside single quotes.
func unquoted(data []byte) string {
	return strings.NewReplacer(`\'`, `\x27`, "%", `\x25`).Replace(escape(data))
}

func escape(data []byte) string {
	var b strings.Builder
	for _, c := range data {
		switch {
		case c == '\\' || c == '\'':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= 0x20 && c < 0x7f:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// command renders a resolved operation. ok is false where etcdctl can't
// express it: no argument can hold a NUL, many fields have no flag.
func command(op operation, request proto.Message) (line string, ok bool) {
	var words []string
	flag := func(condition bool, text string, arguments ...any) {
		if condition {
			words = append(words, fmt.Sprintf(text, arguments...))
		}
	}
	typeable := true
	positional := func(data []byte) {
		typeable = typeable && !bytes.Contains(data, []byte{0}) && len(data) < 100000
		words = append(words, quote(data))
	}
	// interval appends key and end; etcdctl writes "to the end" as a flag.
	interval := func(key, end []byte) {
		fromKey := len(end) == 1 && end[0] == 0
		if fromKey && len(key) == 1 && key[0] == 0 {
			words = append(words, "--from-key", "--", "''")
			return
		}
		flag(fromKey, "--from-key")
		words = append(words, "--")
		positional(key)
		if len(end) > 0 && !fromKey {
			positional(end)
		}
	}
	switch r := request.(type) {
	case *pb.PutRequest:
		words = append(words, "put")
		flag(r.Lease != 0, "--lease=%x", r.Lease)
		flag(r.PrevKv, "--prev-kv")
		flag(r.IgnoreValue, "--ignore-value")
		flag(r.IgnoreLease, "--ignore-lease")
		words = append(words, "--")
		positional(r.Key)
		if !r.IgnoreValue {
			positional(r.Value)
		}
		typeable = typeable && r.Lease >= 0 && !(r.IgnoreValue && len(r.Value) > 0)
	case *pb.RangeRequest:
		words = append(words, "get")
		flag(op.kind == "range-stream", "--stream")
		flag(r.Revision != 0, "--rev=%d", r.Revision)
		flag(r.Limit != 0, "--limit=%d", r.Limit)
		if r.SortOrder != 0 || r.SortTarget != 0 {
			orders := []string{"", "ASCEND", "DESCEND"}
			targets := []string{"KEY", "VERSION", "CREATE", "MODIFY", "VALUE"}
			if int(r.SortOrder) < 0 || int(r.SortOrder) >= len(orders) || int(r.SortTarget) < 0 || int(r.SortTarget) >= len(targets) {
				return "", false
			}
			flag(r.SortOrder != 0, "--order=%s", orders[r.SortOrder])
			flag(true, "--sort-by=%s", targets[r.SortTarget])
		}
		flag(r.Serializable, "--consistency=s")
		flag(r.KeysOnly, "--keys-only")
		flag(r.CountOnly, "--count-only --write-out=fields")
		flag(r.MinModRevision != 0, "--min-mod-rev=%d", r.MinModRevision)
		flag(r.MaxModRevision != 0, "--max-mod-rev=%d", r.MaxModRevision)
		flag(r.MinCreateRevision != 0, "--min-create-rev=%d", r.MinCreateRevision)
		flag(r.MaxCreateRevision != 0, "--max-create-rev=%d", r.MaxCreateRevision)
		typeable = !(r.KeysOnly && r.CountOnly)
		interval(r.Key, r.RangeEnd)
	case *pb.DeleteRangeRequest:
		words = append(words, "del")
		flag(r.PrevKv, "--prev-kv")
		interval(r.Key, r.RangeEnd)
	case *pb.CompactionRequest:
		words = append(words, "compaction")
		flag(r.Physical, "--physical")
		words = append(words, "--", fmt.Sprint(r.Revision))
	case *pb.LeaseRevokeRequest:
		words = append(words, "lease revoke", fmt.Sprintf("%x", r.ID))
		typeable = r.ID >= 0
	case *pb.LeaseKeepAliveRequest:
		words = append(words, "lease keep-alive --once", fmt.Sprintf("%x", r.ID))
		typeable = r.ID >= 0
	case *pb.LeaseTimeToLiveRequest:
		words = append(words, "lease timetolive")
		flag(r.Keys, "--keys")
		words = append(words, fmt.Sprintf("%x", r.ID))
		typeable = r.ID >= 0
	case *pb.LeaseLeasesRequest:
		words = append(words, "lease list")
	case *pb.HashKVRequest:
		words = append(words, "endpoint hashkv", fmt.Sprintf("--rev=%d", r.Revision))
	case *pb.StatusRequest:
		words = append(words, "endpoint status")
	case *pb.MemberListRequest:
		words = append(words, "member list")
		flag(!r.Linearizable, "--consistency=s")
	case *pb.DefragmentRequest:
		words = append(words, "defrag")
	case *pb.WatchCreateRequest:
		words = append(words, "watch")
		flag(r.StartRevision != 0, "--rev=%d", r.StartRevision)
		flag(r.PrevKv, "--prev-kv")
		flag(r.ProgressNotify, "--progress-notify")
		words = append(words, "--")
		positional(r.Key)
		if len(r.RangeEnd) > 0 {
			positional(r.RangeEnd)
		}
		typeable = typeable && r.WatchId == 0 && !r.Fragment && len(r.Filters) == 0
	case *pb.TxnRequest:
		return transaction(r)
	default:
		return "", false
	}
	return "etcdctl " + strings.Join(words, " "), typeable
}

// transaction renders what etcdctl reads from its standard input: compares,
// success and failure, each ended by an empty line.
func transaction(r *pb.TxnRequest) (string, bool) {
	var b strings.Builder
	b.WriteString("etcdctl txn <<'END'\n")
	quoted := func(data []byte) string { return `"` + escape(data) + `"` }
	ok := true
	for _, c := range r.Compare {
		operators := map[pb.Compare_CompareResult]string{pb.Compare_EQUAL: "=", pb.Compare_NOT_EQUAL: "!=", pb.Compare_GREATER: ">", pb.Compare_LESS: "<"}
		targets := map[pb.Compare_CompareTarget]string{pb.Compare_VERSION: "ver", pb.Compare_CREATE: "c", pb.Compare_MOD: "m", pb.Compare_VALUE: "val", pb.Compare_LEASE: "lease"}
		var value string
		switch u := c.TargetUnion.(type) {
		case *pb.Compare_Version:
			value = fmt.Sprintf("%d", u.Version)
			ok = ok && c.Target == pb.Compare_VERSION
		case *pb.Compare_CreateRevision:
			value = fmt.Sprintf("%d", u.CreateRevision)
			ok = ok && c.Target == pb.Compare_CREATE
		case *pb.Compare_ModRevision:
			value = fmt.Sprintf("%d", u.ModRevision)
			ok = ok && c.Target == pb.Compare_MOD
		case *pb.Compare_Value:
			value = escape(u.Value)
			ok = ok && c.Target == pb.Compare_VALUE
		case *pb.Compare_Lease:
			value = fmt.Sprintf("%x", u.Lease)
			ok = ok && c.Target == pb.Compare_LEASE
		default:
			ok = false
		}
		ok = ok && operators[c.Result] != "" && targets[c.Target] != "" && len(c.RangeEnd) == 0
		fmt.Fprintf(&b, "%s(%s) %s \"%s\"\n", targets[c.Target], quoted(c.Key), operators[c.Result], value)
	}
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		b.WriteString("\n")
		for _, op := range branch {
			var inner proto.Message
			switch u := op.Request.(type) {
			case *pb.RequestOp_RequestPut:
				inner = u.RequestPut
			case *pb.RequestOp_RequestRange:
				inner = u.RequestRange
			case *pb.RequestOp_RequestDeleteRange:
				inner = u.RequestDeleteRange
			default:
				return "", false
			}
			line, typeable := command(operation{}, inner)
			// Inside, words are split by etcdctl itself, which knows
			// double quotes only.
			if !typeable || strings.Contains(line, "$") {
				ok = false
			}
			b.WriteString(strings.TrimPrefix(line, "etcdctl ") + "\n")
		}
	}
	b.WriteString("\nEND")
	return b.String(), ok
}

// describe renders one step of a session.
func describe(op operation, resolved proto.Message) string {
	where := ""
	if strings.HasPrefix(op.kind, "watch-") {
		where = fmt.Sprintf("   # on watch stream %d", op.stream)
	}
	if op.kind == "raw" {
		return fmt.Sprintf("# raw request to %s: %x", op.method, op.raw)
	}
	if resolved == nil {
		return "# " + op.kind + where
	}
	raw := "# " + op.kind + ": " + kinds[op.kind].method + " " + string(resolved.ProtoReflect().Descriptor().FullName()) + " " + readable(resolved)
	if line, ok := command(op, resolved); ok {
		if op.kind == "watch-create" {
			line += " &"
		}
		return line + where
	}
	return raw + where
}

// readable prints a message in protobuf's text form, with what repeats itself
// shortened.
func readable(m proto.Message) string {
	data, err := prototext.MarshalOptions{}.Marshal(m)
	if err != nil {
		return err.Error()
	}
	return "{" + truncate(string(data), 1500) + "}"
}

func shortenRuns(text string) string {
	const long = 32
	var b strings.Builder
	for i := 0; i < len(text); {
		shortened := false
		// One or two bytes, each of them escaped or not.
		for period := 1; period <= 8 && !shortened; period++ {
			j := i + period
			for j < len(text) && text[j] == text[j-period] {
				j++
			}
			if j-i > max(long, 4*period) {
				fmt.Fprintf(&b, "%s…%d×", text[i:i+period], (j-i)/period)
				i += (j - i) / period * period
				shortened = true
			}
		}
		if !shortened {
			b.WriteByte(text[i])
			i++
		}
	}
	return b.String()
}

func truncate(text string, limit int) string {
	size := len(text)
	if text = shortenRuns(text); len(text) > limit {
		return fmt.Sprintf("%s… (of %d bytes)", text[:limit], size)
	}
	return text
}
