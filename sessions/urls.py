"""The pages of the control plane."""

from django.urls import URLPattern, path

from sessions import streams
from sessions.views import agents, decisions, device, inbox, kill, people, profiles, session, session_list

urlpatterns: list[URLPattern] = [
    path("", inbox.inbox, name="inbox"),
    path("inbox/stream", streams.inbox_stream, name="inbox-stream"),
    path("device", device.device, name="device"),
    path("sessions/", session_list.session_list, name="session-list"),
    path("sessions/stream", streams.session_list_stream, name="session-list-stream"),
    path("sessions/<uuid:session_id>/", session.session, name="session"),
    path("sessions/<uuid:session_id>/stream", streams.session_stream, name="session-stream"),
    path("sessions/<uuid:session_id>/approve", decisions.approve, name="session-approve"),
    path("sessions/<uuid:session_id>/approve-less", decisions.approve_less, name="session-approve-less"),
    path("sessions/<uuid:session_id>/deny", decisions.deny, name="session-deny"),
    path("sessions/<uuid:session_id>/withdraw", decisions.withdraw, name="session-withdraw"),
    path("sessions/<uuid:session_id>/kill", kill.kill, name="session-kill"),
    path("agents/", agents.agent_list, name="agent-list"),
    path("agents/register", agents.register, name="agent-register"),
    path("agents/<uuid:agent_id>/", agents.agent, name="agent"),
    path("agents/<uuid:agent_id>/keys", agents.issue_key, name="agent-key-issue"),
    path("agents/<uuid:agent_id>/keys/<uuid:key_id>/revoke", agents.revoke_key, name="agent-key-revoke"),
    path("profiles/", profiles.profile_list, name="profile-list"),
    path("profiles/create", profiles.create, name="profile-create"),
    path("profiles/<uuid:profile_id>/", profiles.profile, name="profile"),
    path("profiles/<uuid:profile_id>/propose", profiles.propose, name="profile-propose"),
    path("profiles/<uuid:profile_id>/versions/<uuid:version_id>/publish", profiles.publish, name="profile-publish"),
    path("teams/<slug:slug>/people/", people.people, name="people"),
    path("teams/<slug:slug>/people/add", people.add, name="people-add"),
    path("teams/<slug:slug>/people/grant", people.grant, name="people-grant"),
    path("teams/<slug:slug>/people/roles/<int:membership_id>/end", people.end, name="people-end"),
]
