{{- define "galera-sst.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "galera-sst.labels" -}}
{{ include "galera-sst.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "galera-sst.selector" -}}
app.kubernetes.io/name: galera-sst
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "galera-sst.image" -}}
{{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
{{- end }}

{{/* Labels and annotations that keep meshes away: one that answers for the job breaks the protocol. */}}
{{- define "galera-sst.mesh" -}}
labels:
  {{- include "galera-sst.selector" .context | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
  sidecar.istio.io/inject: "false"
annotations:
  linkerd.io/inject: disabled
  kuma.io/sidecar-injection: disabled
  consul.hashicorp.com/connect-inject: "false"
{{- end }}

{{- define "galera-sst.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "galera-sst.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "galera-sst.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "galera-sst.store" -}}
{{- with .Values.storeSecret }}
- secretRef:
    name: {{ . }}
    optional: true
{{- end }}
{{- end }}
