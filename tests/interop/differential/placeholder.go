package main

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A history is generated before it runs, yet "two revisions ago" and "just
// below the compaction" are only known while it runs, and shift when shrinking
// removes operations. So a generated request holds placeholders: a 64-bit
// integer inside one of the bands below stands for the current revision, or
// the compacted one, plus an offset.
const (
	placeholderReach = int64(1) << 20
	currentBase      = int64(1) << 61
	compactedBase    = int64(1)<<61 + int64(1)<<40
)

func relativeToCurrent(offset int64) int64   { return currentBase + offset }
func relativeToCompacted(offset int64) int64 { return compactedBase + offset }

// clock is what placeholders are resolved against.
type clock struct {
	current, compacted int64
}

func (c clock) resolveInt(value int64) int64 {
	switch {
	case value > currentBase-placeholderReach && value < currentBase+placeholderReach:
		return c.current + value - currentBase
	case value > compactedBase-placeholderReach && value < compactedBase+placeholderReach:
		return c.compacted + value - compactedBase
	}
	return value
}

// resolve returns a copy of message with every placeholder replaced.
func (c clock) resolve(message proto.Message) proto.Message {
	if message == nil {
		return nil
	}
	copied := proto.Clone(message)
	c.resolveIn(copied.ProtoReflect())
	return copied
}

func (c clock) resolveIn(message protoreflect.Message) {
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsList() && field.Message() != nil:
			for i := 0; i < value.List().Len(); i++ {
				c.resolveIn(value.List().Get(i).Message())
			}
		case field.IsList() || field.IsMap():
		case field.Message() != nil:
			c.resolveIn(value.Message())
		case field.Kind() == protoreflect.Int64Kind:
			if got := c.resolveInt(value.Int()); got != value.Int() {
				message.Set(field, protoreflect.ValueOfInt64(got))
			}
		}
		return true
	})
}
