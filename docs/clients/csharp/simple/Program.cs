// A simple client: it sends one text and prints what comes back, until Ctrl-C.
//
// dotnet run [URL]      without it the URL is that of WPS_CLIENT_URL

using System.Net.WebSockets;
using Websocket.Client;

var url = args.ElementAtOrDefault(0) ?? Environment.GetEnvironmentVariable("WPS_CLIENT_URL");
if (string.IsNullOrEmpty(url))
{
    Console.Error.WriteLine("usage: dotnet run [URL], or the URL in WPS_CLIENT_URL");
    return 2;
}

// No subprotocol: frames are messages, and there are no others.
using var client = new WebsocketClient(new Uri(url)) { IsReconnectionEnabled = false };
var over = new TaskCompletionSource();
Console.CancelKeyPress += (_, pressed) => { pressed.Cancel = true; over.TrySetResult(); };
client.DisconnectionHappened.Subscribe(_ => over.TrySetResult());
client.MessageReceived.Subscribe(frame => Console.WriteLine(frame.Text));

await client.StartOrFail();
client.Send("hello from C#");
await over.Task;
await client.Stop(WebSocketCloseStatus.NormalClosure, "");
return 0;
