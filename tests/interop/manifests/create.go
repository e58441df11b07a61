package main

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/batch"
	"k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
	"k8s.io/kubernetes/pkg/registry/batch/cronjob"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
)

// A creator validates a new object in its internal version, and gives warnings.
type creator func(ctx context.Context, object runtime.Object) (warnings []string, err error)

// What the API server does for each kind. A kind that is not here is a finding.
//
// The strategies of Job and of the core kinds would link half an API server: these are validated by the functions below.
var creators = map[schema.GroupVersionKind]creator{
	{Group: "apps", Version: "v1", Kind: "StatefulSet"}:                withStrategy(statefulset.Strategy),
	{Group: "batch", Version: "v1", Kind: "CronJob"}:                   withStrategy(cronjob.Strategy),
	{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"}:      withStrategy(poddisruptionbudget.Strategy),
	{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"}: withStrategy(networkpolicy.Strategy),
	{Group: "batch", Version: "v1", Kind: "Job"}:                       createJob,
	{Version: "v1", Kind: "ConfigMap"}: func(_ context.Context, object runtime.Object) ([]string, error) {
		return nil, validation.ValidateConfigMap(object.(*core.ConfigMap)).ToAggregate()
	},
	{Version: "v1", Kind: "Secret"}: func(_ context.Context, object runtime.Object) ([]string, error) {
		return nil, validation.ValidateSecret(object.(*core.Secret)).ToAggregate()
	},
	{Version: "v1", Kind: "PersistentVolumeClaim"}: func(_ context.Context, object runtime.Object) ([]string, error) {
		claim := object.(*core.PersistentVolumeClaim)
		options := validation.ValidationOptionsForPersistentVolumeClaim(claim, nil)
		return nil, validation.ValidatePersistentVolumeClaim(claim, options).ToAggregate()
	},
	{Version: "v1", Kind: "Service"}: func(_ context.Context, object runtime.Object) ([]string, error) {
		service := object.(*core.Service)
		if service.Spec.ClusterIP != "" { // the server completes this pair
			service.Spec.ClusterIPs = []string{service.Spec.ClusterIP}
		}
		return nil, validation.ValidateServiceCreate(service).ToAggregate()
	},
}

func withStrategy(strategy rest.RESTCreateStrategy) creator {
	return func(ctx context.Context, object runtime.Object) ([]string, error) {
		if err := rest.BeforeCreate(strategy, ctx, object); err != nil {
			return nil, err
		}
		return strategy.WarningsOnCreate(ctx, object), nil
	}
}

// createJob validates a Job as what a CronJob would make.
func createJob(ctx context.Context, object runtime.Object) ([]string, error) {
	job := object.(*batch.Job)
	if job.Spec.Selector != nil {
		return nil, field.Forbidden(field.NewPath("spec", "selector"), "Kubernetes makes it")
	}
	return withStrategy(cronjob.Strategy)(ctx, &batch.CronJob{
		ObjectMeta: job.ObjectMeta,
		Spec: batch.CronJobSpec{
			Schedule:          "@daily",
			ConcurrencyPolicy: batch.ForbidConcurrent,
			JobTemplate:       batch.JobTemplateSpec{ObjectMeta: job.ObjectMeta, Spec: job.Spec},
		},
	})
}
