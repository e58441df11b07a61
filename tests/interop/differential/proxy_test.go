package main

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// proxy stands between the runner and one server and tells lies: each answer
// passes through alter, which may change it, drop it or repeat it.
type proxy struct {
	server  *grpc.Server
	address string
	target  *grpc.ClientConn
	alter   alteration
}

// alteration edits one response of a method. It returns how often the response
// is to be sent: 1 as it should be.
type alteration struct {
	message func(method string, response proto.Message) int
	failure func(method string, s *status.Status) *status.Status
}

func startProxy(t *testing.T, address string, alter alteration) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: target, alter: alter}
	p.server = grpc.NewServer(grpc.ForceServerCodec(codec{}), grpc.MaxRecvMsgSize(1<<30), grpc.UnknownServiceHandler(p.handle))
	go func() { _ = p.server.Serve(listener) }()
	t.Cleanup(func() {
		p.server.Stop()
		target.Close()
	})
	p.address = listener.Addr().String()
	return p
}

func responseOf(method string) proto.Message {
	if method == pb.Watch_Watch_FullMethodName {
		return &pb.WatchResponse{}
	}
	for _, name := range kindOrder {
		if kinds[name].method == method {
			return kinds[name].response()
		}
	}
	return nil
}

func (p *proxy) handle(_ any, downstream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(downstream)
	ctx, cancel := context.WithCancel(downstream.Context())
	defer cancel()
	if incoming, ok := metadata.FromIncomingContext(downstream.Context()); ok {
		ctx = metadata.NewOutgoingContext(ctx, incoming)
	}
	upstream, err := p.target.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	go func() {
		for {
			request := &frame{}
			if err := downstream.RecvMsg(request); err != nil {
				if errors.Is(err, io.EOF) {
					_ = upstream.CloseSend()
				} else {
					cancel()
				}
				return
			}
			if upstream.SendMsg(request) != nil {
				return
			}
		}
	}()
	for {
		answer := &frame{}
		if err := upstream.RecvMsg(answer); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			s := status.Convert(err)
			if p.alter.failure != nil {
				s = p.alter.failure(method, s)
			}
			return s.Err()
		}
		times := 1
		if response := responseOf(method); response != nil && p.alter.message != nil {
			if err := proto.Unmarshal(answer.data, response); err != nil {
				return err
			}
			times = p.alter.message(method, response)
			answer.data, _ = proto.Marshal(response)
		}
		for range times {
			if err := downstream.SendMsg(answer); err != nil {
				return err
			}
		}
	}
}
