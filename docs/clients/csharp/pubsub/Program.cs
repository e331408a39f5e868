// A PubSub client: it joins a group, says hello to it and prints each frame, until Ctrl-C.
//
// dotnet run [URL] [GROUP]      without URL, or with "", it is that of WPS_CLIENT_URL

using System.Net.WebSockets;
using System.Text.Json;
using Websocket.Client;

var given = args.ElementAtOrDefault(0);
var url = string.IsNullOrEmpty(given) ? Environment.GetEnvironmentVariable("WPS_CLIENT_URL") : given;
var group = args.ElementAtOrDefault(1) ?? "room-0";
if (string.IsNullOrEmpty(url))
{
    Console.Error.WriteLine("usage: dotnet run [URL] [GROUP], or the URL in WPS_CLIENT_URL");
    return 2;
}

var socket = new ClientWebSocket();
socket.Options.AddSubProtocol("json.webpubsub.azure.v1");
using var client = new WebsocketClient(new Uri(url), () => socket) { IsReconnectionEnabled = false };
var over = new TaskCompletionSource();
Console.CancelKeyPress += (_, pressed) => { pressed.Cancel = true; over.TrySetResult(); };
client.DisconnectionHappened.Subscribe(_ => over.TrySetResult());
client.MessageReceived.Subscribe(frame =>
{
    Console.WriteLine(frame.Text);
    var message = JsonDocument.Parse(frame.Text!).RootElement;
    // Only after the ack: until then nobody knows whether the group may be joined.
    if (message.GetProperty("type").GetString() == "ack"
        && message.GetProperty("ackId").GetInt64() == 1
        && message.GetProperty("success").GetBoolean())
    {
        Ask(new { type = "sendToGroup", group, dataType = "text", data = "hello from C#", ackId = 2 });
    }
});

await client.StartOrFail();
Ask(new { type = "joinGroup", group, ackId = 1 });
await over.Task;
await client.Stop(WebSocketCloseStatus.NormalClosure, "");
return 0;

void Ask(object request) => client.Send(JsonSerializer.Serialize(request));
