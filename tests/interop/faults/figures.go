package main

import (
	"fmt"
	"slices"
	"time"
)

// figures are the times that a cluster took to serve again, each from its fault.
type figures struct {
	election time.Duration
	samples  []time.Duration
}

// add takes a time; 0 is a round that measured none.
func (f *figures) add(sample time.Duration) {
	if sample > 0 {
		f.samples = append(f.samples, sample)
	}
}

// quantile in election timeouts, by the nearest rank.
func (f *figures) quantile(q float64) float64 {
	if len(f.samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(f.samples))
	rank := min(len(sorted)-1, int(q*float64(len(sorted))))
	return float64(sorted[rank]) / float64(f.election)
}

func (f *figures) String() string {
	if len(f.samples) == 0 {
		return "no time measured"
	}
	return fmt.Sprintf("serves again after median %.2f, 95 %% %.2f, max %.2f election timeouts (%d times)",
		f.quantile(0.5), f.quantile(0.95), f.quantile(1), len(f.samples))
}

// The bars of the issue, in election timeouts.
const (
	barMedian  = 1.5
	bar95      = 2.5
	barHighest = 6
)

// Beside another's times a little more is allowed: these are random draws on a
// machine that has other things to do.
const (
	slackMedian = 1.15
	slack95     = 1.25
)

// judge names what is above a bar. beside may be nil.
func (f *figures) judge(beside *figures) []string {
	var missed []string
	for _, bar := range []struct {
		name  string
		q     float64
		limit float64
	}{{"median", 0.5, barMedian}, {"95th percentile", 0.95, bar95}, {"highest", 1, barHighest}} {
		if got := f.quantile(bar.q); got > bar.limit {
			missed = append(missed, fmt.Sprintf("time to serve again: %s %.2f election timeouts, at most %.1f", bar.name, got, bar.limit))
		}
	}
	if beside != nil && len(beside.samples) > 0 {
		for _, bar := range []struct {
			name  string
			q     float64
			slack float64
		}{{"median", 0.5, slackMedian}, {"95th percentile", 0.95, slack95}} {
			if ours, theirs := f.quantile(bar.q), beside.quantile(bar.q); ours > theirs*bar.slack {
				missed = append(missed, fmt.Sprintf("time to serve again: %s %.2f election timeouts, beside it %.2f", bar.name, ours, theirs))
			}
		}
	}
	return missed
}
