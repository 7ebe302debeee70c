{{- define "image-size-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 characters: a StatefulSet's pods carry its name and a hash in a label. */}}
{{- define "image-size-exporter.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "image-size-exporter.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "image-size-exporter.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "image-size-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "image-size-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* A service of one shard is no service that Prometheus' operator scrapes: another name, as its selector asks for the name. */}}
{{- define "image-size-exporter.shardLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "image-size-exporter.name" . | trunc 57 | trimSuffix "-" }}-shard
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "image-size-exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "image-size-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/part-of: {{ include "image-size-exporter.name" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "image-size-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "image-size-exporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "image-size-exporter.image" -}}
{{- $name := printf "%s/%s" .Values.image.registry .Values.image.repository -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $name .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "image-size-exporter.configName" -}}
{{- default (include "image-size-exporter.fullname" .) .Values.config.existingName }}
{{- end }}

{{/* Empty when registries are read anonymously. */}}
{{- define "image-size-exporter.dockerSecretName" -}}
{{- if .Values.dockerConfig.existingSecret }}
{{- .Values.dockerConfig.existingSecret }}
{{- else if .Values.dockerConfig.content }}
{{- printf "%s-docker" (include "image-size-exporter.fullname" .) }}
{{- end }}
{{- end }}
