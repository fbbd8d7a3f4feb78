// Browsers do not send what follows "#" in an address, but pass it on when a redirect answers. So the form takes it along.
for (const form of document.forms) form.action += location.hash;
