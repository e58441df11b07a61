package main

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

// frame is a message that is already encoded (or that nobody should decode):
// the way to send what no generated type can express.
type frame struct{ data []byte }

// codec is gRPC's protobuf codec that lets frames through untouched.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(value any) ([]byte, error) {
	switch v := value.(type) {
	case *frame:
		return v.data, nil
	case proto.Message:
		return proto.Marshal(v)
	}
	return nil, fmt.Errorf("cannot encode a %T", value)
}

func (codec) Unmarshal(data []byte, value any) error {
	switch v := value.(type) {
	case *frame:
		v.data = append([]byte(nil), data...)
		return nil
	case proto.Message:
		return proto.Unmarshal(data, v)
	}
	return fmt.Errorf("cannot decode a %T", value)
}

// dial connects to address as clients do, but without retries and without
// limits of its own: every answer has to be the server's.
func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodec(codec{}),
			grpc.MaxCallRecvMsgSize(1<<30),
			grpc.MaxCallSendMsgSize(1<<30)))
}
