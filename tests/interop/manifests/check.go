package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

type result struct {
	documents int
	findings  []string
}

func (r *result) add(format string, arguments ...any) {
	r.findings = append(r.findings, fmt.Sprintf(format, arguments...))
}

var strict = json.NewSerializerWithOptions(json.DefaultMetaFactory, legacyscheme.Scheme, legacyscheme.Scheme,
	json.SerializerOptions{Yaml: true, Strict: true})

func checkFile(path string) (result, error) {
	var found result
	file, err := os.Open(path)
	if err != nil {
		return found, err
	}
	defer file.Close()
	reader := yaml.NewYAMLReader(bufio.NewReader(file))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		checkDocument(&found, document)
	}
}

// checkDocument decodes one document; a List is each of its items.
func checkDocument(found *result, document []byte) {
	object, kind, err := strict.Decode(document, nil, nil)
	if err != nil {
		if kind == nil {
			kind = &schema.GroupVersionKind{Kind: "?"}
		}
		found.documents++
		found.add("%s: %v", kind.Kind, err)
		if object == nil {
			return
		}
		found.documents--
	}
	if list, ok := object.(*corev1.List); ok {
		for _, item := range list.Items {
			checkDocument(found, item.Raw)
		}
		return
	}
	found.documents++
	checkObject(found, object, *kind)
}

// checkObject does what the API server does between decoding and storing.
func checkObject(found *result, object runtime.Object, kind schema.GroupVersionKind) {
	accessor, err := meta.Accessor(object)
	if err != nil {
		found.add("%s: %v", kind.Kind, err)
		return
	}
	name := kind.Kind + "/" + accessor.GetName()
	create := creators[kind]
	if create == nil {
		found.add("%s: this check does not know %s", name, kind)
		return
	}
	legacyscheme.Scheme.Default(object)
	checkPods(found, name, object)

	inner, err := legacyscheme.Scheme.UnsafeConvertToVersion(object, runtime.InternalGroupVersioner)
	if err != nil {
		found.add("%s: %v", name, err)
		return
	}
	ctx := request.WithNamespace(context.Background(), "default")
	ctx = request.WithRequestInfo(ctx, &request.RequestInfo{APIGroup: kind.Group, APIVersion: kind.Version, Namespace: "default"})
	accessor, _ = meta.Accessor(inner)
	accessor.SetNamespace("default")
	rest.FillObjectMetaSystemFields(accessor)
	warnings, err := create(ctx, inner)
	if err != nil {
		found.add("%s: %v", name, err)
	}
	for _, text := range warnings {
		found.add("%s: warning: %s", name, text)
	}
}

// podTemplate is the template of the pods that an object makes, nil if it makes none.
func podTemplate(object runtime.Object) *corev1.PodTemplateSpec {
	switch o := object.(type) {
	case *appsv1.StatefulSet:
		return &o.Spec.Template
	case *batchv1.Job:
		return &o.Spec.Template
	case *batchv1.CronJob:
		return &o.Spec.JobTemplate.Spec.Template
	}
	return nil
}

var evaluator = func() policy.Evaluator {
	e, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		panic(err)
	}
	return e
}()

// checkPods: the strictest of Kubernetes' pod security standards, and what it leaves open.
func checkPods(found *result, name string, object runtime.Object) {
	template := podTemplate(object)
	if template == nil {
		return
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, r := range evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec) {
		if !r.Allowed {
			found.add("%s: pod security: %s: %s", name, r.ForbiddenReason, r.ForbiddenDetail)
		}
	}
	for _, c := range append(template.Spec.InitContainers, template.Spec.Containers...) {
		security := c.SecurityContext
		if security == nil || security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
			found.add("%s: container %s: its root file system is not read-only", name, c.Name)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
			found.add("%s: container %s: no request for the processor or no limit for memory", name, c.Name)
		}
	}
	if template.Spec.AutomountServiceAccountToken == nil || *template.Spec.AutomountServiceAccountToken {
		found.add("%s: pods get a token of the API server, and need none", name)
	}
}
